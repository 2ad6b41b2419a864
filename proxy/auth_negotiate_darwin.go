package proxy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// hasLogonSession: macOS answers for the user who is logged on, but with a ticket
// only. NTLM needs a password.
const hasLogonSession = false

func logonSession(context.Context, string, Peer) (session, error) {
	return nil, errors.New("NTLM: there is no user and password")
}

// tickets are kept by macOS.
type tickets struct{}

// gss are the functions of the GSS framework that are used (RFC 2744 5), and its
// object identifiers: their addresses, because their layout is Apple's business.
var gss struct {
	once sync.Once
	err  error

	importName     func(minor *uint32, name *gssBuffer, kind uintptr, out *uintptr) uint32
	releaseName    func(minor *uint32, name *uintptr) uint32
	initSecContext func(minor *uint32, cred uintptr, context *uintptr, target, mechanism uintptr, flags, lifetime uint32,
		bindings uintptr, in *gssBuffer, actual uintptr, out *gssBuffer, outFlags, outLifetime uintptr) uint32
	deleteSecContext func(minor *uint32, context *uintptr, out uintptr) uint32
	releaseBuffer    func(minor *uint32, b *gssBuffer) uint32

	spnego, principalName uintptr
}

// gssBuffer is gss_buffer_desc.
type gssBuffer struct {
	length uintptr
	value  unsafe.Pointer
}

const gssErrors = 0xffff0000 // the calling and routine errors of a major status

func loadGSS() error {
	gss.once.Do(func() {
		var lib uintptr
		if lib, gss.err = purego.Dlopen("/System/Library/Frameworks/GSS.framework/GSS", purego.RTLD_LAZY|purego.RTLD_GLOBAL); gss.err != nil {
			return
		}
		for name, function := range map[string]any{
			"gss_import_name":        &gss.importName,
			"gss_release_name":       &gss.releaseName,
			"gss_init_sec_context":   &gss.initSecContext,
			"gss_delete_sec_context": &gss.deleteSecContext,
			"gss_release_buffer":     &gss.releaseBuffer,
		} {
			address, err := purego.Dlsym(lib, name)
			if err != nil {
				gss.err = err
				return
			}
			purego.RegisterFunc(function, address)
		}
		for name, oid := range map[string]*uintptr{
			"__gss_spnego_mechanism_oid_desc":       &gss.spnego,
			"__gss_krb5_nt_principal_name_oid_desc": &gss.principalName,
		} {
			if *oid, gss.err = purego.Dlsym(lib, name); gss.err != nil {
				return
			}
		}
	})
	return gss.err
}

// session implements Negotiate with the GSS framework. It has no channel
// binding: the layout of that structure differs between Apple's processors.
func (n *Negotiate) session(_ context.Context, spn string, _ Peer) (session, error) {
	if err := loadGSS(); err != nil {
		return nil, fmt.Errorf("the GSS framework cannot be used: %w", err)
	}
	if strings.ContainsRune(spn, 0) || spn == "" {
		return nil, errors.New("the name of the proxy's service cannot be used")
	}
	text := []byte(spn)
	name := gssBuffer{uintptr(len(text)), unsafe.Pointer(&text[0])}
	s := &gssSession{spn: spn}
	var minor uint32
	major := gss.importName(&minor, &name, gss.principalName, &s.target)
	runtime.KeepAlive(text)
	if major&gssErrors != 0 {
		return nil, gssError("gss_import_name", major, minor)
	}
	return s, nil
}

// gssSession is a security context of the GSS framework. A system call may ask
// the KDC; that cannot be broken off.
type gssSession struct {
	spn             string
	target, context uintptr
	begun           bool
}

func (s *gssSession) step(_ context.Context, in []byte) ([]byte, error) {
	if s.begun && in == nil {
		return nil, fmt.Errorf("%w for %s", ErrTicketRefused, s.spn)
	}
	s.begun = true
	var input, output gssBuffer
	if len(in) > 0 {
		input = gssBuffer{uintptr(len(in)), unsafe.Pointer(&in[0])}
	}
	var minor uint32
	major := gss.initSecContext(&minor, 0, &s.context, s.target, gss.spnego, 0, 0, 0, &input, 0, &output, 0, 0)
	runtime.KeepAlive(in)
	if major&gssErrors != 0 {
		return nil, fmt.Errorf("%w for %s: %w", ErrNoTicket, s.spn, gssError("gss_init_sec_context", major, minor))
	}
	var out []byte
	if output.length > 0 {
		out = append(out, unsafe.Slice((*byte)(output.value), output.length)...)
	}
	gss.releaseBuffer(&minor, &output)
	return out, nil
}

func (s *gssSession) close() {
	var minor uint32
	if s.context != 0 {
		gss.deleteSecContext(&minor, &s.context, 0)
	}
	if s.target != 0 {
		gss.releaseName(&minor, &s.target)
	}
}

func gssError(call string, major, minor uint32) error {
	return fmt.Errorf("%s: %#x, %#x", call, major, minor)
}
