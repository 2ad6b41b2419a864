package listen

var Listeners = listeners
