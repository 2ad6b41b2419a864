// Package check walks the way to an edge and reports each step as data: what was
// dialed and answered, how long it took, and where it broke.
//
// The steps are those of the program itself: a Walk uses the proxy and tunnel
// packages as a tunnel does, and reads their log records. What a tunnel has no
// need of is here: whether UDP gets through, after how long a silence the path
// is cut, how long a round trip takes. The words for people, and what to do
// about a failure, are somebody else's.
package check
