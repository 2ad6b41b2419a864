package token

import (
	"crypto/hmac"
	"crypto/sha512"
	"math/big"
	"net/url"
	"strings"
)

// Key names the token of an edge, as the existing client does: host:port as
// the edge's URL has it, and whether it is reached over TLS. The port is filled
// in where the URL has none.
func Key(edge *url.URL) string {
	host := edge.Host
	if edge.Port() == "" {
		port := "443"
		if edge.Scheme == "http" {
			port = "80"
		}
		host = strings.TrimSuffix(host, ":") + ":" + port
	}
	if edge.Scheme == "http" {
		return host + "|false"
	}
	return host + "|true"
}

// fileName returns the name, without its ending, of the file that the existing
// client keeps the token of key in: the key's digest in base 36, upper case.
func fileName(key string) string {
	mac := hmac.New(sha512.New512_256, []byte("LocalJWTCache"))
	mac.Write([]byte(key))
	sum := mac.Sum(nil)
	digits := strings.ToUpper(new(big.Int).SetBytes(sum).Text(36))
	// A number has no leading zeros; its encoding has one for each zero byte.
	for _, b := range sum {
		if b != 0 {
			break
		}
		digits = "0" + digits
	}
	return digits
}
