package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/s3"
)

// minioVariable names the server that commands start, as it does for the tests.
const minioVariable = "RINGLEADER_MINIO"

// minioServer is a MinIO of one command's own, on a free port of loopback, with its data in a temporary directory. Its methods are called by one goroutine.
type minioServer struct {
	binary  string
	address string
	process *exec.Cmd // nil: it does not run
	dir     string
	config  s3.Config
	output  bytes.Buffer // read while it does not run
}

// startMinio starts the server at the path binary, with one empty bucket, and returns when it serves.
func startMinio(ctx context.Context, binary, bucket string) (_ *minioServer, err error) {
	s := &minioServer{binary: binary, config: s3.DefaultConfig()}
	if s.dir, err = os.MkdirTemp("", "ringleader-minio-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	// A directory beside the server's own is a bucket.
	if err := os.MkdirAll(filepath.Join(s.dir, "data", bucket), 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	s.config.Bucket, s.config.Endpoint, s.config.AccessKey, s.config.SecretKey = bucket, "http://"+s.address, "ringleader", rand.Text()
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, s.wait(ctx)
}

// start starts the process, also again after kill: then on what it had stored.
func (s *minioServer) start() error {
	process := exec.Command(s.binary, "server", "--address", s.address, filepath.Join(s.dir, "data"))
	process.Env = []string{"MINIO_ROOT_USER=" + s.config.AccessKey, "MINIO_ROOT_PASSWORD=" + s.config.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"HOME=" + s.dir}
	process.Stdout, process.Stderr = &s.output, &s.output
	if err := process.Start(); err != nil {
		return fmt.Errorf("start MinIO: %w", err)
	}
	s.process = process
	return nil
}

// wait returns when the server serves.
func (s *minioServer) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.Get(s.config.Endpoint + "/minio/health/ready")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("start MinIO: it does not serve: %w", err)
		}
	}
}

// open opens the bucket below a prefix, which may be empty.
func (s *minioServer) open(ctx context.Context, prefix string) (checkpoints.Store, error) {
	config := s.config
	config.Prefix = prefix
	store, err := s3.Open(ctx, config)
	if err != nil {
		return nil, storeError(err)
	}
	return store, nil
}

// kill ends the process with SIGKILL.
func (s *minioServer) kill() {
	_ = s.process.Process.Kill() // an error means that it has ended by itself
	_ = s.process.Wait()         // says that it was killed
	s.process = nil
}

// stop ends the server and removes its data.
func (s *minioServer) stop() error {
	if s.process != nil {
		s.kill()
	}
	return os.RemoveAll(s.dir)
}
