package sqlitestore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urlsession/urlsession/internal/durable"
	"github.com/urlsession/urlsession/internal/task"
)

// keyFile is the key that a database's secrets are sealed with, AES-256-GCM with a random nonce a value. A copy of the
// database alone tells no secret.
//
// It is also the lock of the database: one process has it open. (Not the database itself: closing any descriptor of a
// file drops the fcntl locks of the whole process on it, SQLite's too.)
type keyFile struct {
	file *os.File
	aead cipher.AEAD
}

// sealedVersion is the first byte of each sealed value.
const sealedVersion = 1

// openKey opens the key file at path, of which all must be as we made it: a regular file, our user's, mode 0600. With
// create, one that is missing is made; without, it is lost, and never replaced, since what was sealed with it is then
// the only thing that is lost.
func openKey(path string, create bool) (*keyFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, fmt.Errorf("%w: %s is missing: restore it, or move the database away to begin a new one", ErrKey, path)
		}
		if err = createKey(path); err == nil {
			f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k := &keyFile{file: f}
	if err := k.load(); err != nil {
		f.Close()
		return nil, err
	}
	return k, nil
}

func (k *keyFile) load() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s "+format, append([]any{ErrKey, k.file.Name()}, args...)...)
	}
	info, err := k.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return refuse("is no regular file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return refuse("has mode %#o, and others could have read it: replace the secrets that tasks carry, then set its mode to 0600", perm)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return refuse("belongs to user %d, and this is user %d", stat.Uid, os.Geteuid())
	}
	if err := durable.Lock(k.file); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(k.file, 1<<10))
	if err != nil {
		return err
	}
	key, err := hex.DecodeString(strings.TrimSuffix(string(text), "\n"))
	if err != nil || len(key) != 32 {
		return refuse("holds no key: restore it")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	k.aead, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// createKey makes a new key durable, content and name, before anything can be sealed with it. One that another process
// has made meanwhile stands.
func createKey(path string) error {
	key := make([]byte, 32)
	rand.Read(key)
	temp := path + "." + rand.Text()
	if err := durable.WriteFile(temp, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil { // with its fsync
		return err
	}
	if err := durable.RenameNoReplace(temp, path); err != nil {
		os.Remove(temp)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(path))
}

func (k *keyFile) close() error {
	err := k.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// What a value is sealed for. It can be opened only as that, and only in its place: a value that is copied to another
// session, task or column does not open there.
const (
	sealedRecord        = "record"
	sealedMultipart     = "multipart"
	sealedConfiguration = "configuration"
	sealedCheck         = "check"
)

func (k *keyFile) seal(kind string, session int64, id task.ID, secret []byte) []byte {
	return k.aead.Seal([]byte{sealedVersion}, nil, secret, place(kind, session, id))
}

func (k *keyFile) open(kind string, session int64, id task.ID, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealedVersion {
		return nil, fmt.Errorf("%w: a sealed %s is of an unknown form", ErrDamaged, kind)
	}
	secret, err := k.aead.Open(nil, nil, sealed[1:], place(kind, session, id))
	if err != nil {
		return nil, fmt.Errorf("%w: a sealed %s does not open", ErrDamaged, kind)
	}
	return secret, nil
}

// place is the additional data that binds a sealed value to where it stands.
func place(kind string, session int64, id task.ID) []byte {
	b := append(make([]byte, 0, 64), sealedVersion)
	b = append(b, kind...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(session))
	return binary.BigEndian.AppendUint64(b, uint64(id))
}

// sealCheck stores a value by which check knows the key again.
func sealCheck(ctx context.Context, conn *sql.Conn, k *keyFile) error {
	_, err := conn.ExecContext(ctx, "INSERT INTO key_check (sealed) VALUES (?)", k.seal(sealedCheck, 0, 0, nil))
	return err
}

// check refuses a key that is not the database's, before anything is sealed with it.
func (k *keyFile) check(sealed []byte) error {
	if _, err := k.open(sealedCheck, 0, 0, sealed); err != nil {
		return fmt.Errorf("%w: %s is the key of another database: restore the right one", ErrKey, k.file.Name())
	}
	return nil
}
