//go:build !linux && !darwin && !freebsd

package platform

import "errors"

// Space is an error here: this system is not asked yet.
func Space(path string) (free int64, err error) { return 0, errors.ErrUnsupported }
