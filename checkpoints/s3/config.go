// Package s3 keeps the objects of a store in a bucket of S3 or of a server that speaks its protocol.
package s3

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// Config says where the bucket is and how patient to be.
type Config struct {
	Bucket string
	Prefix string // of all names, without a slash at either end; may be empty
	// Endpoint is the server's URL; empty means Amazon's. Another server's buckets are addressed by path.
	Endpoint string
	// Region of the bucket; if empty, us-east-1 with an Endpoint, and without one the bucket is asked.
	Region string
	// AccessKey, SecretKey and SessionToken; if AccessKey is empty, the usual places are searched: the environment variables of AWS and of MinIO,
	// AWS's shared files (also single sign-on and credential processes), then the machine's or pod's role.
	AccessKey, SecretKey, SessionToken string

	PartSize int64         // objects up to it are sent in one request, larger ones in parts of it
	Parallel int           // parts of an object under way at the same time; so many times PartSize is the memory of a Put
	Stall    time.Duration // an attempt ends when no byte moved in either direction for so long
	Attempts int           // per request
}

// DefaultConfig is for a bucket that everything else must be filled in for.
func DefaultConfig() Config {
	return Config{PartSize: 16 << 20, Parallel: 4, Stall: 30 * time.Second, Attempts: 4}
}

// minPart is the smallest size of parts but the last that the protocol allows.
const minPart = 5 << 20

// FromURL makes the configuration for s3://bucket/prefix. getenv (os.Getenv) is asked for the standard variables AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL, and AWS_REGION or AWS_DEFAULT_REGION.
func FromURL(address string, getenv func(string) string) (Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Not the parser's error: it repeats the text, which may hold a password.
		return Config{}, fmt.Errorf("parse store URL: want s3://bucket or s3://bucket/prefix")
	}
	c := DefaultConfig()
	c.Bucket, c.Prefix = u.Host, strings.Trim(u.Path, "/")
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
		if v := getenv(name); v != "" {
			c.Endpoint = v
		}
	}
	for _, name := range []string{"AWS_DEFAULT_REGION", "AWS_REGION"} {
		if v := getenv(name); v != "" {
			c.Region = v
		}
	}
	return c, c.Validate()
}

// Validate names the first field that cannot be right.
func (c Config) Validate() error {
	switch {
	case c.Bucket == "":
		return fmt.Errorf("s3 configuration: bucket is empty")
	case s3utils.CheckValidBucketName(c.Bucket) != nil:
		return fmt.Errorf("s3 configuration: bucket %q: %w", c.Bucket, s3utils.CheckValidBucketName(c.Bucket))
	case c.Prefix != "" && checkpoints.CheckName(c.Prefix) != nil:
		return fmt.Errorf("s3 configuration: prefix %q: %w", c.Prefix, checkpoints.CheckName(c.Prefix))
	case c.AccessKey == "" != (c.SecretKey == ""):
		return fmt.Errorf("s3 configuration: access key and secret key: want both or neither")
	case c.PartSize < minPart:
		return fmt.Errorf("s3 configuration: part size %d: want at least %d", c.PartSize, minPart)
	case c.Parallel < 1:
		return fmt.Errorf("s3 configuration: parallel %d: want at least 1", c.Parallel)
	case c.Stall <= 0:
		return fmt.Errorf("s3 configuration: stall %v: want more than 0", c.Stall)
	case c.Attempts < 1:
		return fmt.Errorf("s3 configuration: attempts %d: want at least 1", c.Attempts)
	}
	_, _, err := c.server()
	return err
}

// server is the host to connect to, and whether with TLS.
func (c Config) server() (host string, secure bool, err error) {
	if c.Endpoint == "" {
		return "s3.amazonaws.com", true, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return "", false, fmt.Errorf("s3 configuration: the endpoint must be http://host:port or https://host:port, without path and user")
	}
	return u.Host, u.Scheme == "https", nil
}

// options are the client's. Trailing headers stay off: not every server has them, and every request here carries its hash up front.
func (c Config) options(transport http.RoundTripper, secure bool) *minio.Options {
	o := &minio.Options{
		Creds:      c.credentials(),
		Secure:     secure,
		Transport:  transport,
		Region:     c.Region,
		MaxRetries: c.Attempts,
	}
	if c.Endpoint != "" {
		o.BucketLookup = minio.BucketLookupPath
		if o.Region == "" {
			o.Region = "us-east-1"
		}
	}
	return o
}

// roleTimeout bounds the question for a machine's role, which hangs where there is nobody to answer.
const roleTimeout = 3 * time.Second

func (c Config) credentials() *credentials.Credentials {
	if c.AccessKey != "" {
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.EnvMinio{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Timeout: roleTimeout}},
	})
}
