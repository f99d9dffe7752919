package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/internal/faulthttp"
)

// chaosServer is an S3 that clusters find behind a proxy, which lets their requests fail when it is told. Its methods are called by one goroutine.
type chaosServer struct {
	minio *minioServer
	proxy *faulthttp.Proxy
}

// chaosBucket holds the checkpoints of all clusters, each under a prefix of its own.
const chaosBucket = "chaos"

func startChaosServer(ctx context.Context, binary string) (_ *chaosServer, err error) {
	s := &chaosServer{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.minio, err = startMinio(ctx, binary, chaosBucket); err != nil {
		return nil, err
	}
	target, err := url.Parse(s.minio.config.Endpoint)
	if err != nil {
		return nil, err
	}
	if s.proxy, err = faulthttp.New(target); err != nil {
		return nil, err
	}
	// For this process and its children, all of which open stores by their URLs.
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": s.proxy.URL(), "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": s.minio.config.AccessKey, "AWS_SECRET_ACCESS_KEY": s.minio.config.SecretKey, "AWS_SESSION_TOKEN": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *chaosServer) close() (err error) {
	if s.proxy != nil {
		err = s.proxy.Close()
	}
	if s.minio != nil {
		err = errors.Join(err, s.minio.stop())
	}
	return err
}

// calm ends all faults and returns when the server serves.
func (s *chaosServer) calm(ctx context.Context) error {
	s.proxy.Calm()
	if s.minio.process == nil {
		if err := s.minio.start(); err != nil {
			return err
		}
	}
	return s.minio.wait(ctx)
}

// serverFaults are the faults of a proxy by their kind in a fault spec.
var serverFaults = map[string]faulthttp.Kind{
	"refuse": faulthttp.Refuse, "hang": faulthttp.Hang, "slow": faulthttp.Slow, "lose-answer": faulthttp.LoseAnswer,
	"cut-upload": faulthttp.CutUpload, "cut-download": faulthttp.CutDownload, "flip-upload": faulthttp.FlipUpload, "flip-download": faulthttp.FlipDownload,
}

// hitServer does to the S3 server what the fault says.
func (r *localRun) hitServer(s *strike) error {
	s.at = time.Now()
	if s.kind == "kill" {
		if r.server.minio.process == nil {
			return fmt.Errorf("the S3 server is not running: %w", errNothing)
		}
		r.server.minio.kill()
		r.revive = time.After(s.length)
		return nil
	}
	s.inWait = r.server.proxy.Begin(serverFaults[s.kind], s.draw())
	if s.length > 0 {
		time.AfterFunc(s.length, s.inWait.End)
	}
	return nil
}

// openStore opens the run's store, past all faults of its server.
func (r *localRun) openStore(ctx context.Context) (checkpoints.Store, error) {
	if r.server == nil {
		return openStore(ctx, r.plan.spec.How.Store)
	}
	_, prefix := splitLast(r.plan.spec.How.Store)
	return r.server.minio.open(ctx, prefix)
}

// verifyRun reads all checkpoints of a run, but for those that were damaged on purpose, and returns what is wrong with any that looks complete.
func verifyRun(ctx context.Context, store checkpoints.Store, damaged map[string]bool) error {
	found, err := checkpoints.List(ctx, store, "")
	if err != nil {
		return err
	}
	var wrong []error
	for _, f := range found {
		if f.Committed && !damaged[f.Dir] {
			wrong = append(wrong, checkpoints.Verify(ctx, store, f.Dir)...)
		}
	}
	return errors.Join(wrong...)
}
