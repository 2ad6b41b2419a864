package sysproxy

// What understands each system's syntax.
var (
	ParseGSettings   = parseGSettings
	ParseKIO         = parseKIO
	ParseEnvironment = parseEnvironment
	ParseScutil      = parseScutil
)

// InternetSettings are values of the registry.
type InternetSettings = internetSettings

// ParseInternetSettings understands them.
var ParseInternetSettings = internetSettings.settings

// Desktop asks a free desktop with these ways to reach it.
func Desktop(getenv func(string) string, read func(string) (string, error), gsettings func() (string, error)) (Settings, error) {
	return desktop{getenv, read, gsettings}.settings()
}
