package listen

// Parts that the fuzz target and the tests look at from outside.
var (
	WasClosed = wasClosed
)
