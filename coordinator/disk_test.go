package coordinator

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// TestTruncatedLogIsReadable: a follower drops the end of its log when a new leader says otherwise. What is left must be readable after a restart
// (raft-wal before v0.4.1 lost the index of it, and the node could not start again).
func TestTruncatedLogIsReadable(t *testing.T) {
	dir := t.TempDir()
	open := func() *disk {
		d, err := openDisk(dir, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	for i := range uint64(10) {
		if err := d.log.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.log.DeleteRange(8, 10); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d = open()
	defer d.close()
	for i := range uint64(7) {
		var l raft.Log
		if err := d.log.GetLog(i+1, &l); err != nil || len(l.Data) != 1 || l.Data[0] != byte(i) {
			t.Fatalf("entry %d: %v, %v", i+1, l.Data, err)
		}
	}
	if last, err := d.log.LastIndex(); err != nil || last != 7 {
		t.Errorf("last entry %d, %v; want 7", last, err)
	}
}
