// Package sock gives sockets the manners that tunnels want: no buffer while
// nothing flows, few system calls while much does, quick acknowledgements
// during set-up, and a reset that loses no byte already sent.
package sock
