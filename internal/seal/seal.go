// Package seal keeps what is written to disk from whoever reads the disk: AES-256-GCM with a key that lies in the user's
// keyring, or in a file of mode 0600 where there is none. A copy of the sealed files alone tells no secret.
//
// It guards against copies, backups and other users. It does not guard against a program that runs as the user: that can
// read the key as we do.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
)

var (
	// ErrDamaged says that something is not what was sealed, or was sealed with another key or for another purpose.
	ErrDamaged = errors.New("damaged, or sealed with another key")
	// ErrNoKey says that whoever is to hold the key has none.
	ErrNoKey = errors.New("there is no key")
	// ErrKey says that a key is there, but cannot be used as it is.
	ErrKey = errors.New("unusable key")
)

const (
	keySize = 32 // bytes: AES-256
	version = 1  // the first byte of all that is sealed
)

// Key seals. It may be used by several goroutines, and shows nothing of itself when it is printed.
type Key struct{ aead cipher.AEAD }

// String hides the key.
func (*Key) String() string { return "key" }

// GoString hides the key.
func (*Key) GoString() string { return "key" }

func newKey(key []byte) (*Key, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block) // 96 bits: good for 2^32 values of one key
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// Keys are held as a line of hexadecimal digits.
func generate() string {
	key := make([]byte, keySize)
	rand.Read(key)
	return hex.EncodeToString(key) + "\n"
}

func parseKey(text string) (*Key, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, ErrKey // not err: it cites what it could not read
	}
	return newKey(key)
}

// Sealer seals for one purpose, such as "cookies": what it seals opens only for the same.
func (k *Key) Sealer(purpose string) *Sealer {
	return &Sealer{k, append([]byte{version}, purpose...)}
}

// Sealer is a Key for one purpose. It may be used by several goroutines.
type Sealer struct {
	key  *Key
	data []byte // GCM's additional data
}

// String hides the key.
func (*Sealer) String() string { return "sealer" }

// GoString hides the key.
func (*Sealer) GoString() string { return "sealer" }

// Seal returns secret, encrypted and authenticated. Its error is always nil.
func (s *Sealer) Seal(secret []byte) ([]byte, error) { return s.AppendSealed(nil, secret), nil }

// AppendSealed is Seal that appends to dst.
func (s *Sealer) AppendSealed(dst, secret []byte) []byte {
	return s.key.aead.Seal(append(dst, version), nil, secret, s.data)
}

// Open gives back what Seal got. The only error is ErrDamaged.
func (s *Sealer) Open(sealed []byte) ([]byte, error) { return s.AppendOpened(nil, sealed) }

// AppendOpened is Open that appends to dst.
func (s *Sealer) AppendOpened(dst, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return nil, ErrDamaged
	}
	secret, err := s.key.aead.Open(dst, nil, sealed[1:], s.data)
	if err != nil {
		return nil, ErrDamaged
	}
	return secret, nil
}
