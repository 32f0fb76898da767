package cookie

import (
	"context"
	"errors"
	"fmt"

	"github.com/urlsession/urlsession/internal/seal"
)

// SealedBy seals with the key that holder holds, for a purpose that no other file has. The key is looked up each time, once a
// second at most, and made when first needed, so that one that was removed together with the file is made anew. What was
// sealed with a key that is lost is ErrDamaged.
func SealedBy(holder seal.Holder, purpose string) Sealer { return held{holder, purpose} }

type held struct {
	holder  seal.Holder
	purpose string
}

func (h held) Seal(secret []byte) ([]byte, error) {
	key, err := h.holder.Key(context.Background(), true)
	if err != nil {
		return nil, err
	}
	return key.Sealer(h.purpose).Seal(secret)
}

func (h held) Open(sealed []byte) ([]byte, error) {
	key, err := h.holder.Key(context.Background(), false)
	if errors.Is(err, seal.ErrNoKey) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	secret, err := key.Sealer(h.purpose).Open(sealed)
	if err != nil {
		return nil, ErrDamaged // the only one that there is
	}
	return secret, nil
}
