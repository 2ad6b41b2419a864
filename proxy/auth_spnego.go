package proxy

import "encoding/asn1"

// The object identifiers of RFC 4178, RFC 4121 and [MS-SPNG 1.9].
var (
	oidSPNEGO   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	oidKerberos = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
	oidNTLM     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}
)

// negTokenInit is NegTokenInit of RFC 4178 4.2.1, as far as it is used.
type negTokenInit struct {
	MechTypes []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
	MechToken []byte                  `asn1:"explicit,tag:2"`
}

// negTokenResp is NegTokenResp of RFC 4178 4.2.2.
type negTokenResp struct {
	State asn1.Enumerated       `asn1:"optional,explicit,tag:0"`
	Mech  asn1.ObjectIdentifier `asn1:"optional,explicit,tag:1"`
	Token []byte                `asn1:"optional,explicit,tag:2"`
	MIC   []byte                `asn1:"optional,explicit,tag:3"`
}

// spnegoInit wraps the first token of the one mechanism that is offered.
func spnegoInit(mechanism asn1.ObjectIdentifier, token []byte) ([]byte, error) {
	inner, err := asn1.MarshalWithParams(negTokenInit{[]asn1.ObjectIdentifier{mechanism}, token}, "explicit,tag:0")
	if err != nil {
		return nil, err
	}
	return gssToken(oidSPNEGO, inner)
}

// spnegoAnswer wraps a later token. There is no MIC: RFC 4178 5 does without one
// where one mechanism alone was offered.
func spnegoAnswer(token []byte) ([]byte, error) {
	return asn1.MarshalWithParams(negTokenResp{Token: token}, "explicit,tag:1")
}

// spnegoToken is the mechanism's token in an answer; nil without one. An answer
// that is none of SPNEGO is the mechanism's: servers differ in that.
func spnegoToken(answer []byte) []byte {
	var resp negTokenResp
	if _, err := asn1.UnmarshalWithParams(answer, &resp, "explicit,tag:1"); err != nil {
		return answer
	}
	return resp.Token
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
