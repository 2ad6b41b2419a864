package token

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

// Ring keeps secrets by a name, as a system's keyring does. Load returns ""
// without an error where there is none.
type Ring interface {
	Load(ctx context.Context, name string) (string, error)
	Save(ctx context.Context, name, secret string) error
}

// Sealed keeps each token in a file that is good for nothing without the keyring:
// that has the key with which all of them are encrypted (AES-256-GCM). A token
// itself may be longer than some keyrings take. It is safe for concurrent use,
// and must not be copied after first use.
type Sealed struct {
	Dir  string // as File's
	Ring Ring   // required

	mu  sync.Mutex
	box cipher.AEAD // nil: the keyring was not asked yet
}

const (
	// sealedEnding is what the names of Sealed's files end with.
	sealedEnding = ".sealed"
	// ringName is what the key is called in the keyring.
	ringName = "token key"
	// sealedHead is how a file begins; the rest is base64 of nonce and cipher
	// text.
	sealedHead = "pomerium-cli token 1\n"
)

// errSealed says that a file cannot be opened with the keyring's key.
var errSealed = errors.New("is not sealed with the key that the keyring has")

// Open asks the keyring for the key, and has it keep a new one if there is none.
// The other methods do so themselves when they need it.
func (s *Sealed) Open(ctx context.Context) error {
	_, err := s.open(ctx)
	return err
}

// Load returns the token kept for key, as File.Load.
func (s *Sealed) Load(ctx context.Context, key string) (string, error) {
	box, err := s.open(ctx)
	if err != nil {
		return "", fmt.Errorf("reading token: %w", err)
	}
	token, err := load(s.path(key), unseal(box, key))
	if err != nil {
		return "", fmt.Errorf("reading token: %w", err)
	}
	return token, nil
}

// Save keeps token for key, in place of the one that was there.
func (s *Sealed) Save(ctx context.Context, key, token string) error {
	if !valid(token) {
		return fmt.Errorf("saving token: %w", errNotToken)
	}
	box, err := s.open(ctx)
	if err == nil {
		err = swap.File(s.path(key), seal(box, key, token), 0o600)
	}
	if err != nil {
		return fmt.Errorf("saving token: %w", err)
	}
	return nil
}

// Delete drops the token of key, as File.Delete.
func (s *Sealed) Delete(ctx context.Context, key, token string) error {
	box, err := s.open(ctx)
	if err == nil {
		err = drop(s.path(key), token, unseal(box, key))
	}
	if err != nil {
		return fmt.Errorf("dropping token: %w", err)
	}
	return nil
}

// Clear drops the tokens of all edges. The key stays in the keyring, and is good
// for nothing by itself.
func (s *Sealed) Clear(context.Context) error {
	if err := clearDir(s.Dir, sealedEnding); err != nil {
		return fmt.Errorf("dropping tokens: %w", err)
	}
	return nil
}

func (s *Sealed) path(key string) string {
	return filepath.Join(s.Dir, fileName(key)+sealedEnding)
}

// open returns what seals tokens.
func (s *Sealed) open(ctx context.Context) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box != nil {
		return s.box, nil
	}
	text, err := s.Ring.Load(ctx, ringName)
	if err == nil && text == "" {
		text, err = s.begin(ctx)
	}
	if err != nil {
		return nil, err
	}
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("the keyring's entry %q is not a key", ringName)
	}
	block, err := aes.NewCipher(key)
	if err == nil {
		s.box, err = cipher.NewGCM(block)
	}
	return s.box, err
}

// begin has the keyring keep a new key, unless another process has done so: of
// those that find none at the same time one makes it.
func (s *Sealed) begin(ctx context.Context) (text string, err error) {
	turns := Turns{Dir: s.Dir}
	done, err := turns.Take(ctx, ringName, nil)
	if err != nil {
		return "", err
	}
	defer done(nil)
	if text, err = s.Ring.Load(ctx, ringName); err != nil || text != "" {
		return text, err
	}
	text = base64.RawStdEncoding.EncodeToString(newKey())
	return text, s.Ring.Save(ctx, ringName, text)
}

const keySize = 32 // bytes: AES-256

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// seal makes the content of a file. It is good for its edge alone: the name goes
// into the seal.
func seal(box cipher.AEAD, key, token string) []byte {
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return []byte(sealedHead + base64.StdEncoding.EncodeToString(box.Seal(nonce, nonce, []byte(token), []byte(key))) + "\n")
}

// unseal returns what finds the token in a file's content.
func unseal(box cipher.AEAD, key string) func([]byte) (string, error) {
	return func(content []byte) (string, error) {
		text, ok := strings.CutPrefix(string(content), sealedHead)
		if !ok {
			return "", errNotToken
		}
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(sealed) < box.NonceSize() {
			return "", errNotToken
		}
		token, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte(key))
		if err != nil {
			return "", errSealed
		}
		return parse(token)
	}
}
