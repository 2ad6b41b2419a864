package proxy

import (
	"crypto"
	"crypto/md5"
	_ "crypto/sha512" // for certificates that are signed with it
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// tlsBinding is the channel binding tls-server-end-point (RFC 5929 4): what the
// proxy's certificate hashes to, so that an answer is worth nothing on another
// connection. It is nil without a certificate.
func tlsBinding(cert *x509.Certificate) []byte {
	if cert == nil {
		return nil
	}
	hash := crypto.SHA256 // also in place of MD5 and SHA-1
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write(cert.Raw)
	return h.Sum([]byte("tls-server-end-point:"))
}

// bindingHash is the MD5 that NTLM and Kerberos carry in place of the binding
// (RFC 4121 4.1.1.2): no addresses, and the binding as application data. Without
// a binding it is zero.
func bindingHash(binding []byte) (hash [md5.Size]byte) {
	if binding == nil {
		return hash
	}
	const addresses = 16 // type and length of the initiator's, then of the acceptor's
	data := binary.LittleEndian.AppendUint32(make([]byte, addresses), uint32(len(binding)))
	return md5.Sum(append(data, binding...))
}

// token68 is the token of a challenge like `NTLM TlRM...`, or nil if it is bare.
func token68(challenge string) ([]byte, error) {
	_, text, _ := strings.Cut(challenge, " ")
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	token, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the proxy's challenge is not in base64")
	}
	return token, nil
}
