package s3

import (
	"errors"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

func TestFromURL(t *testing.T) {
	env := map[string]string{"AWS_ENDPOINT_URL": "http://general:9000", "AWS_ENDPOINT_URL_S3": "http://special:9000", "AWS_DEFAULT_REGION": "eu-1"}
	c, err := FromURL("s3://bucket/a/b/", func(name string) string { return env[name] })
	if err != nil || c.Bucket != "bucket" || c.Prefix != "a/b" || c.Endpoint != "http://special:9000" || c.Region != "eu-1" {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = FromURL("s3://bucket", func(string) string { return "" })
	if err != nil || c.Prefix != "" || c.Endpoint != "" || c.Region != "" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "bucket", "file:///x", "s3://", "s3:///x", "s3://user:hunter2@bucket", "s3://b?hunter2", "s3://b/../c", "s3://b\x00hunter2"} {
		_, err := FromURL(bad, func(string) string { return "" })
		if err == nil {
			t.Errorf("%q was accepted", bad)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats what may be secret: %v", err)
		}
	}
}

func TestValidate(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"bucket":     func(c *Config) { c.Bucket = "" },
		`bucket "b"`: func(c *Config) { c.Bucket = "b" },
		"prefix":     func(c *Config) { c.Prefix = "/a" },
		"secret key": func(c *Config) { c.SecretKey = "" },
		"part size":  func(c *Config) { c.PartSize = 1 },
		"stall":      func(c *Config) { c.Stall = 0 },
		"attempts":   func(c *Config) { c.Attempts = 0 },
		"endpoint":   func(c *Config) { c.Endpoint = "localhost:9000" },
	} {
		c := config("http://localhost:9000")
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want an error that names it", field, err)
		}
	}
}

func TestURL(t *testing.T) {
	c := config("http://localhost:9000")
	if u := open(t, c).URL(); u != "s3://bucket/some/prefix" {
		t.Error(u)
	}
	c.Prefix = ""
	if u := open(t, c).URL(); u != "s3://bucket" {
		t.Error(u)
	}
}

func TestCredentialsOfEnvironment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id-of-env")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-env")
	c := config("http://localhost:9000")
	c.AccessKey, c.SecretKey = "", ""
	open(t, c)
	v, err := c.credentials().GetWithContext(nil)
	if err != nil || v.AccessKeyID != "id-of-env" {
		t.Errorf("found %q, %v", v.AccessKeyID, err)
	}
}

// Without credentials anywhere, opening fails at once and says where it looked.
func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "MINIO_ROOT_USER", "MINIO_ACCESS_KEY",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	// The role's service is asked here; nobody listens.
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
	c := config("http://localhost:9000")
	c.AccessKey, c.SecretKey = "", ""
	if _, err := Open(t.Context(), c); !errors.Is(err, checkpoints.ErrDenied) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("open: %v, want ErrDenied and where it looked", err)
	}
}
