package proxy

import "encoding/asn1"

// The object identifiers of RFC 4178 and RFC 4121.
var (
	oidSPNEGO   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	oidKerberos = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
)

// negTokenInit is NegTokenInit of RFC 4178 4.2.1, as far as it is used.
type negTokenInit struct {
	MechTypes []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
	MechToken []byte                  `asn1:"explicit,tag:2"`
}

// spnegoInit wraps the first token of the one mechanism that is offered.
func spnegoInit(mechanism asn1.ObjectIdentifier, token []byte) ([]byte, error) {
	inner, err := asn1.MarshalWithParams(negTokenInit{[]asn1.ObjectIdentifier{mechanism}, token}, "explicit,tag:0")
	if err != nil {
		return nil, err
	}
	return gssToken(oidSPNEGO, inner)
}

// gssToken is InitialContextToken of RFC 2743 3.1.
func gssToken(mechanism asn1.ObjectIdentifier, inner []byte) ([]byte, error) {
	oid, err := asn1.Marshal(mechanism)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{
		Class: asn1.ClassApplication, Tag: 0, IsCompound: true, Bytes: append(oid, inner...),
	})
}
