package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// mapped wraps err with the store's error for it, unless it has one.
func mapped(err error) error {
	for _, known := range []error{checkpoints.ErrNotExist, checkpoints.ErrExist, checkpoints.ErrDenied, checkpoints.ErrUnavailable,
		checkpoints.ErrFull, checkpoints.ErrCorrupt} {
		if errors.Is(err, known) {
			return err
		}
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", checkpoints.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w (HTTP %d, %s)", kind(answer), err, answer.StatusCode, answer.Code)
}

// kind sorts the server's answers: by code where one says more than the status does.
func kind(answer minio.ErrorResponse) error {
	switch code := answer.Code; {
	case code == "NoSuchUpload":
		return checkpoints.ErrUnavailable // the server forgot it: try again
	case strings.Contains(code, "Quota"), strings.Contains(code, "StorageFull"), code == "InsufficientStorage":
		return checkpoints.ErrFull
	case code == "BadDigest", code == "InvalidDigest", code == "XAmzContentSHA256Mismatch", strings.Contains(code, "ChecksumMismatch"):
		return checkpoints.ErrCorrupt
	case code == "InvalidBucketName":
		return checkpoints.ErrNotExist
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return checkpoints.ErrNotExist
	case http.StatusPreconditionFailed:
		return checkpoints.ErrExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return checkpoints.ErrDenied
	case http.StatusInsufficientStorage:
		return checkpoints.ErrFull
	}
	return checkpoints.ErrUnavailable
}

// conflicted: two conditional writes met, and the server refused this one without looking who is first.
func conflicted(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode == http.StatusConflict
}
