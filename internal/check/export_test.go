package check

// What the tests of parsers and sockets look at.
var (
	Knock         = knock
	VersionProbe  = versionProbe
	ParseVersions = parseVersions
	VersionName   = versionName
	HTTP3Port     = http3Port
)

// Listen has r make steps.
func Listen(r *Recorder, first, edge string, add func(Step)) (stop func()) {
	return r.listen(first, edge, add)
}
