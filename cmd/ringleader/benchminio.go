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

// minioServer is a MinIO of one command's own, on a free port of loopback, with its data in a temporary directory.
type minioServer struct {
	process *exec.Cmd
	dir     string
	config  s3.Config
	output  bytes.Buffer // read after the process has ended
}

// startMinio starts the server at the path binary and returns when it serves.
func startMinio(ctx context.Context, binary string) (_ *minioServer, err error) {
	s := &minioServer{config: s3.DefaultConfig()}
	if s.dir, err = os.MkdirTemp("", "ringleader-minio-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	// A directory beside the server's own is a bucket.
	const bucket = "bench"
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(filepath.Join(data, bucket), 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	s.config.Bucket, s.config.Endpoint, s.config.AccessKey, s.config.SecretKey = bucket, "http://"+address, "ringleader", rand.Text()
	s.process = exec.Command(binary, "server", "--address", address, data)
	s.process.Env = []string{"MINIO_ROOT_USER=" + s.config.AccessKey, "MINIO_ROOT_PASSWORD=" + s.config.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"HOME=" + s.dir}
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		s.process = nil
		return nil, fmt.Errorf("start MinIO: %w", err)
	}
	return s, s.wait(ctx)
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

func (s *minioServer) open(ctx context.Context) (checkpoints.Store, error) {
	store, err := s3.Open(ctx, s.config)
	if err != nil {
		return nil, storeError(err)
	}
	return store, nil
}

// stop ends the server and removes its data.
func (s *minioServer) stop() error {
	if s.process != nil {
		_ = s.process.Process.Kill() // an error means that it has ended by itself
		_ = s.process.Wait()         // says that it was killed
	}
	return os.RemoveAll(s.dir)
}
