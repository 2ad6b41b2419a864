// Package token keeps the tokens that a person signed in for, one for each
// edge: in the files of the existing client's cache ([File]), which both
// programs read and write alike, in files that only the keyring opens
// ([Sealed]), or in memory ([Memory]). [Turns] makes the sign-ins of several
// processes one.
//
// A store never judges a token. Whether one is valid only the edge knows: a
// session token may carry an expiry that lies in the past and be perfectly
// good.
package token
