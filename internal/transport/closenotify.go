package transport

import (
	"encoding/binary"
	"errors"
)

// errNoCloseNotify ends a TLS connection that was cut. It is neither io.EOF nor io.ErrUnexpectedEOF, which crypto/tls
// takes for one another at a record's end.
var errNoCloseNotify = errors.New("the connection ended without a TLS close_notify: data may be missing")

// records follows the records that a server sends (RFC 8446 §5.1), to tell at the end of the connection whether its
// last word was an alert. crypto/tls forgives a missing close_notify between records; then whoever cuts the connection
// decides where a body ends that has no other end (RFC 9112 §9.8).
//
// It begins with the connection's first bytes. Behind a CONNECT or SOCKS proxy those are not TLS: it judges nothing
// there.
type records struct {
	state  recordState
	header [5]byte
	have   int // bytes of header
	left   int // bytes of the record to come
}

type recordState uint8

const (
	recordsUnknown recordState = iota // nothing came yet
	recordsNone                       // no TLS
	recordsOther                      // the newest record is no alert
	recordsAlert
)

const (
	recordTypeAlert       = 21
	recordTypeHandshake   = 22
	recordTypeApplication = 23

	// sealedAlert is the most that an alert measures in TLS 1.3, which seals it as application data: level, description,
	// type, and a tag of 16 bytes.
	sealedAlert = 2 + 1 + 16
)

// see takes what was read.
func (r *records) see(p []byte) {
	if r.state == recordsNone || len(p) == 0 {
		return
	}
	if r.state == recordsUnknown {
		if p[0] != recordTypeHandshake && p[0] != recordTypeAlert {
			r.state = recordsNone
			return
		}
		r.state = recordsOther
	}
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			p, r.left = p[n:], r.left-n
			continue
		}
		n := copy(r.header[r.have:], p)
		p, r.have = p[n:], r.have+n
		if r.have < len(r.header) {
			return
		}
		r.have, r.left = 0, int(binary.BigEndian.Uint16(r.header[3:]))
		r.state = recordsOther
		if t := r.header[0]; t == recordTypeAlert || t == recordTypeApplication && r.left <= sealedAlert {
			r.state = recordsAlert
		}
	}
}

// cut reports that the connection, which ends here, is TLS and was not ended by an alert.
func (r *records) cut() bool { return r.state == recordsOther }
