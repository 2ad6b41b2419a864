package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"github.com/alexbrainman/sspi"
)

// hasLogonSession: Windows answers for the user who is logged on.
const hasLogonSession = true

// tickets are kept by Windows.
type tickets struct{}

// session implements Negotiate with SSPI.
func (n *Negotiate) session(_ context.Context, spn string, peer Peer) (session, error) {
	return newSSPI(sspi.NEGOSSP_NAME, spn, n.Username, n.Password, peer)
}

// logonSession answers for the logged-on user with the security package of that name.
func logonSession(_ context.Context, name string, peer Peer) (session, error) {
	return newSSPI(name, "HTTP/"+peer.Host, "", "", peer)
}

// secContext is a security context of SSPI. The package negotiate of the library
// is not used: it asks Windows at the start of the program.
type secContext struct {
	credentials *sspi.Credentials
	context     *sspi.Context
	target      *uint16
	size        uint32 // of the longest token
	bindings    []byte // SEC_CHANNEL_BINDINGS; may be nil
	begun       bool
}

func newSSPI(name, spn, username, password string, peer Peer) (session, error) {
	info, err := sspi.QueryPackageInfo(name)
	if err != nil {
		return nil, sspiError("QuerySecurityPackageInfo", err)
	}
	target, err := syscall.UTF16PtrFromString(spn)
	if err != nil {
		return nil, err
	}
	identity, err := authIdentity(username, password)
	if err != nil {
		return nil, err
	}
	credentials, err := sspi.AcquireCredentials("", name, sspi.SECPKG_CRED_OUTBOUND, (*byte)(unsafe.Pointer(identity)))
	if err != nil {
		return nil, sspiError("AcquireCredentialsHandle", err)
	}
	return &secContext{
		credentials: credentials,
		context:     sspi.NewClientContext(credentials, sspi.ISC_REQ_CONNECTION),
		target:      target,
		size:        info.MaxToken,
		bindings:    secBindings(tlsBinding(peer.Certificate)),
	}, nil
}

// authIdentity is nil for the logon session. The domain of DOMAIN\user goes
// into a field of its own; user@realm does not.
func authIdentity(username, password string) (*sspi.SEC_WINNT_AUTH_IDENTITY, error) {
	if username == "" {
		return nil, nil
	}
	domain, user, ok := strings.Cut(username, `\`)
	if !ok {
		domain, user = "", username
	}
	var text [3][]uint16
	for i, s := range []string{user, domain, password} {
		var err error
		if text[i], err = syscall.UTF16FromString(s); err != nil {
			return nil, fmt.Errorf("the user name or password has a zero byte: %w", err)
		}
	}
	length := func(s []uint16) uint32 { return uint32(len(s) - 1) } // without the final zero
	return &sspi.SEC_WINNT_AUTH_IDENTITY{
		User: &text[0][0], UserLength: length(text[0]),
		Domain: &text[1][0], DomainLength: length(text[1]),
		Password: &text[2][0], PasswordLength: length(text[2]),
		Flags: sspi.SEC_WINNT_AUTH_IDENTITY_UNICODE,
	}, nil
}

// secBindings is the structure SEC_CHANNEL_BINDINGS with application data alone.
func secBindings(binding []byte) []byte {
	if binding == nil {
		return nil
	}
	const header = 32 // eight numbers; the last two are length and offset of the data
	b := make([]byte, header, header+len(binding))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(binding)))
	binary.LittleEndian.PutUint32(b[28:], header)
	return append(b, binding...)
}

func (c *secContext) step(_ context.Context, in []byte) ([]byte, error) {
	if c.begun && in == nil {
		return nil, errors.New("the proxy refused what Windows gave")
	}
	c.begun = true
	var buffers []sspi.SecBuffer
	add := func(kind uint32, content []byte) {
		if content != nil {
			buffers = append(buffers, sspi.SecBuffer{})
			buffers[len(buffers)-1].Set(kind, content)
		}
	}
	add(sspi.SECBUFFER_TOKEN, in)
	add(sspi.SECBUFFER_CHANNEL_BINDINGS, c.bindings)
	var input *sspi.SecBufferDesc // none at the beginning
	if buffers != nil {
		input = sspi.NewSecBufferDesc(buffers)
	}
	out := make([]sspi.SecBuffer, 1)
	out[0].Set(sspi.SECBUFFER_TOKEN, make([]byte, c.size))
	outDesc := sspi.NewSecBufferDesc(out)
	switch code := c.context.Update(c.target, outDesc, input); code {
	case sspi.SEC_E_OK, sspi.SEC_I_CONTINUE_NEEDED:
	case sspi.SEC_I_COMPLETE_NEEDED, sspi.SEC_I_COMPLETE_AND_CONTINUE:
		if code := sspi.CompleteAuthToken(c.context.Handle, outDesc); code != sspi.SEC_E_OK {
			return nil, sspiError("CompleteAuthToken", code)
		}
	default:
		return nil, sspiError("InitializeSecurityContext", code)
	}
	return out[0].Bytes(), nil
}

// sspiError has the number: Go's text for it is the same without a name.
func sspiError(call string, err error) error {
	var code syscall.Errno
	if !errors.As(err, &code) {
		return err
	}
	return fmt.Errorf("Windows has no credentials for this proxy (%s: %#x)", call, uint32(code))
}

func (c *secContext) close() {
	if c.begun {
		c.context.Release()
	}
	c.credentials.Release()
}
