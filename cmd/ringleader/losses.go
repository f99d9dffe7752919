package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/evaluation"
)

// lossName is the file in the directory of a local run that has the loss of every step.
const lossName = "loss.csv"

const lossHeader = "step,loss,users\n"

// lossLog writes it, a line as soon as a step is complete: a run that is killed leaves what it had. One that resumes in the same directory goes on
// in the same file, in which the last line of a step counts.
type lossLog struct {
	file *os.File
	err  error // the first; training does not stop for it
}

func openLossLog(dir string) (*lossLog, error) {
	path := filepath.Join(dir, lossName)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write losses: %w", err)
	}
	l := &lossLog{file: f}
	switch {
	case len(before) == 0:
		l.write(lossHeader)
	case !bytes.HasSuffix(before, []byte("\n")):
		l.write("\n") // ends the line that a killed run left
	}
	return l, nil
}

func (l *lossLog) write(line string) {
	if l.err == nil {
		_, l.err = l.file.WriteString(line)
	}
}

// add writes a step.
func (l *lossLog) add(e event) {
	l.write(strconv.FormatInt(int64(e.Step), 10) + "," + strconv.FormatFloat(e.Loss, 'g', -1, 64) + "," + strconv.FormatInt(e.Users, 10) + "\n")
}

// close returns what went wrong since it was opened.
func (l *lossLog) close() error {
	if err := errors.Join(l.err, l.file.Close()); err != nil {
		return fmt.Errorf("write losses: %w", err)
	}
	return nil
}

// readLosses reads the losses of steps up to one. Lines that are no steps are passed over: the header, and what a killed run left half written.
func readLosses(r io.Reader, upTo ringleader.Step) ([]evaluation.StepLoss, error) {
	var list []evaluation.StepLoss
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		field := strings.Split(lines.Text(), ",")
		if len(field) != 3 {
			continue
		}
		step, stepErr := strconv.ParseInt(field[0], 10, 64)
		loss, lossErr := strconv.ParseFloat(field[1], 64)
		if stepErr != nil || lossErr != nil || step < 1 || ringleader.Step(step) > upTo {
			continue
		}
		for len(list) > 0 && list[len(list)-1].Step >= ringleader.Step(step) {
			list = list[:len(list)-1] // the run resumed before them
		}
		list = append(list, evaluation.StepLoss{Step: ringleader.Step(step), Loss: loss})
	}
	return list, lines.Err()
}

// lossesOf are the losses that led to a checkpoint, if it is in the directory of a local run: where is that directory, the store in it, or the checkpoint.
func lossesOf(where string, step ringleader.Step) ([]evaluation.StepLoss, error) {
	if !isLocal(where) {
		return nil, nil
	}
	dir, err := localPath(where)
	if err != nil {
		return nil, err
	}
	if checkpoints.IsDir(filepath.Base(dir)) {
		dir = filepath.Dir(dir)
	}
	if filepath.Base(dir) == runStore {
		dir = filepath.Dir(dir)
	}
	f, err := os.Open(filepath.Join(dir, lossName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	defer f.Close()
	return readLosses(f, step)
}
