// Package miniotest runs a real S3 server, MinIO, for tests.
package miniotest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Variable is the environment variable in which tests look for the server's binary.
const Variable = "RINGLEADER_MINIO"

// What the server lets in.
const (
	AccessKey = "ringleader"
	SecretKey = "not-a-secret"
)

// Server is a MinIO of the test's own, on a free port of loopback. Its methods are called by the test's goroutine.
type Server struct {
	Address string // HOST:PORT, the same after a restart

	t       *testing.T
	binary  string
	dir     string
	log     output
	process *exec.Cmd
}

// Start runs the server at the path binary for the time of the test, and skips the test if the path is empty.
func Start(t *testing.T, binary string) *Server {
	t.Helper()
	if binary == "" {
		t.Skip(Variable + " does not name a MinIO server; scripts/minio.sh makes one (or: make test-s3)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: l.Addr().String(), t: t, binary: binary, dir: filepath.Join(t.TempDir(), "data")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the server's output:\n%s", s.log.text())
		}
	})
	return s
}

// Endpoint is the server's URL.
func (s *Server) Endpoint() string { return "http://" + s.Address }

// Environment is what a process needs to use the server.
func (s *Server) Environment() []string {
	return []string{"AWS_ENDPOINT_URL=" + s.Endpoint(), "AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_SESSION_TOKEN="}
}

// Start starts the server again after Kill, with what it had stored, and returns when it serves.
func (s *Server) Start() {
	s.t.Helper()
	s.process = exec.Command(s.binary, "server", "--address", s.Address, s.dir)
	s.process.Env = []string{"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off",
		"HOME=" + filepath.Dir(s.dir), "MINIO_UPDATE=off"}
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for {
		answer, err := client.Get(s.Endpoint() + "/minio/health/live")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Kill()
			s.t.Fatalf("the server does not serve: %v\n%s", err, s.log.text())
		}
	}
}

// Kill ends the server with SIGKILL and returns when it is gone.
func (s *Server) Kill() {
	_ = s.process.Process.Kill() // an error means that it is dead already
	_ = s.process.Wait()         // says that it was killed
}

// MakeBucket makes a new bucket.
func (s *Server) MakeBucket(name string) {
	s.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	client, err := minio.New(s.Address, &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: "us-east-1", Transport: transport})
	if err == nil {
		err = client.MakeBucket(s.t.Context(), name, minio.MakeBucketOptions{})
	}
	if err != nil {
		s.t.Fatalf("make bucket %s: %v", name, err)
	}
}

// output collects what the server says, from two of its lives if need be.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}
