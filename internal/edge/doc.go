// Package edge knows what every request to a Pomerium edge shares: which edge
// a destination belongs to, the header that carries the credential, and what
// an answer other than success means.
//
// The usual path: [ParseDestination] once per destination, [SetCredential] on
// every request, [NewAnswerError] on every answer that is not a 2xx.
//
// It opens no connection and keeps no state. What the user should do about an
// answer is decided elsewhere; here is only what the edge said.
package edge
