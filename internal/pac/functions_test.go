package pac_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

// network is the world of these tests.
var network = pac.Env{
	Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		names := map[string][]netip.Addr{
			"www.corp":  addrs("10.1.2.3"),
			"both.corp": addrs("2001:db8::5", "10.1.2.5"),
			"six.corp":  addrs("2001:db8::6"),
			"map.corp":  addrs("::ffff:10.1.2.7"),
		}
		if found, ok := names[host]; ok {
			return found, nil
		}
		return nil, errors.New("no such host")
	},
	Local: func(context.Context) []netip.Addr { return addrs("2001:db8::1", "192.168.7.2", "10.0.0.2") },
}

func addrs(list ...string) (a []netip.Addr) {
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func TestFunctions(t *testing.T) {
	for _, tt := range []struct{ expression, want string }{
		{`isPlainHostName("www")`, "boolean true"},
		{`isPlainHostName("www.netscape.com")`, "boolean false"},
		{`isPlainHostName("::1")`, "boolean false"},
		{`isPlainHostName(host)`, "boolean false"},
		{`dnsDomainIs("www.netscape.com", ".netscape.com")`, "boolean true"},
		{`dnsDomainIs("www", ".netscape.com")`, "boolean false"},
		{`dnsDomainIs("www.mcom.com", ".netscape.com")`, "boolean false"},
		{`dnsDomainIs("evilnetscape.com", "netscape.com")`, "boolean true"}, // as in browsers
		{`localHostOrDomainIs("www.netscape.com", "www.netscape.com")`, "boolean true"},
		{`localHostOrDomainIs("www", "www.netscape.com")`, "boolean true"},
		{`localHostOrDomainIs("www.mcom.com", "www.netscape.com")`, "boolean false"},
		{`localHostOrDomainIs("home.netscape.com", "www.netscape.com")`, "boolean false"},
		{`dnsDomainLevels("www")`, "number 0"},
		{`dnsDomainLevels("www.netscape.com")`, "number 2"},

		{`shExpMatch("http://home.netscape.com/people/ari/index.html", "*/ari/*")`, "boolean true"},
		{`shExpMatch("http://home.netscape.com/people/montulli/index.html", "*/ari/*")`, "boolean false"},
		{`shExpMatch("a.corp", "?.corp")`, "boolean true"},
		{`shExpMatch("axcorp", "a.corp")`, "boolean false"},
		{`shExpMatch("www.a.corp", "a.corp")`, "boolean false"},
		{`shExpMatch("b.corp", "(a|b).corp")`, "boolean true"},
		{`shExpMatch("h7.corp", "h[0-9].corp")`, "boolean true"},
		{`shExpMatch("WWW.corp", "www.corp")`, "boolean false"},
		{`shExpMatch("a(.corp", "a(.*")`, "boolean true"}, // no regular expression
		{`shExpMatch("a(x", "a(?")`, "boolean true"},
		{`shExpMatch("abcbcd", "a*bcd")`, "boolean true"},
		{`shExpMatch("abcbce", "a*bcd")`, "boolean false"},
		{`shExpMatch("a.b.c", "*.*.*")`, "boolean true"},
		{`shExpMatch("a.b", "*.?.*")`, "boolean false"},
		{`shExpMatch("ab", "ab*?")`, "boolean false"},
		{`shExpMatch("ab", "ab**")`, "boolean true"},
		{`shExpMatch("", "*")`, "boolean true"},

		{`isResolvable("www.corp")`, "boolean true"},
		{`isResolvable("six.corp")`, "boolean false"},
		{`isResolvable("nowhere.corp")`, "boolean false"},
		{`isResolvable("10.0.0.1")`, "boolean true"},
		{`dnsResolve("www.corp")`, "string 10.1.2.3"},
		{`dnsResolve("both.corp")`, "string 10.1.2.5"},
		{`dnsResolve("map.corp")`, "string 10.1.2.7"},
		{`dnsResolve("six.corp")`, "object null"},
		{`dnsResolve("nowhere.corp")`, "object null"},
		{`dnsResolve("")`, "object null"},
		{`dnsResolve()`, "object null"},
		{`isInNet("10.1.2.3", "10.1.0.0", "255.255.0.0")`, "boolean true"},
		{`isInNet("www.corp", "10.1.9.9", "255.255.0.0")`, "boolean true"},
		{`isInNet("www.corp", "10.1.2.3", "255.255.255.255")`, "boolean true"},
		{`isInNet("www.corp", "10.1.2.4", "255.255.255.255")`, "boolean false"},
		{`isInNet("10.9.2.3", "10.1.2.3", "255.0.255.255")`, "boolean true"},
		{`isInNet("nowhere.corp", "0.0.0.0", "0.0.0.0")`, "boolean false"},
		{`isInNet("10.1.2.3", "10.1.0.0/16", "255.255.0.0")`, "boolean false"},
		{`isInNet("2001:db8::1", "10.1.0.0", "0.0.0.0")`, "boolean false"},
		{`isInNet("10.1.2.3", "10.1.0.0")`, "boolean false"},
		{`convert_addr("104.16.41.2")`, "number 1745889538"},
		{`convert_addr("255.255.255.255")`, "number -1"},
		{`convert_addr("a.256")`, "number 0"},
		{`convert_addr("192.168.0.1") == ((192 << 24) | (168 << 16) | 1)`, "boolean true"},
		{`myIpAddress()`, "string 192.168.7.2"},

		{`isResolvableEx("six.corp")`, "boolean true"},
		{`isResolvableEx("nowhere.corp")`, "boolean false"},
		{`dnsResolveEx("both.corp")`, "string 2001:db8::5;10.1.2.5"},
		{`dnsResolveEx("nowhere.corp")`, "string"},
		{`isInNetEx("10.1.2.3", "10.1.0.0/16")`, "boolean true"},
		{`isInNetEx("2001:db8::9", "2001:db8::/32")`, "boolean true"},
		{`isInNetEx("2001:db8::9", "10.0.0.0/8")`, "boolean false"},
		{`isInNetEx("both.corp", "10.0.0.0/8")`, "boolean true"},
		{`isInNetEx("10.1.2.3", "10.1.0.0")`, "boolean false"},
		{`myIpAddressEx()`, "string 2001:db8::1;192.168.7.2;10.0.0.2"},
		{`sortIpAddressList("10.0.0.2; 2001:db8::2;10.0.0.1;2001:db8::1")`, "string 2001:db8::1;2001:db8::2;10.0.0.1;10.0.0.2"},
		{`sortIpAddressList("10.0.0.2;www.corp")`, "string"},
		{`sortIpAddressList("")`, "string"},
		{`getClientVersion()`, "string 1.0"},
		{`alert("one\nline")`, "one line\nundefined undefined"},
		{`new Date().getTime()`, "number 1796040000000"},
	} {
		env := network
		env.Now = func() time.Time { return time.UnixMilli(1796040000000) }
		if got := eval(t, tt.expression, env); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.expression, got, tt.want)
		}
	}
}

func TestFunctionsInAnEmptyWorld(t *testing.T) {
	for _, tt := range []struct{ expression, want string }{
		{`myIpAddress()`, "string 127.0.0.1"},
		{`myIpAddressEx()`, "string"},
		{`dnsResolve("www.corp")`, "object null"},
		{`dnsResolve("10.0.0.1")`, "string 10.0.0.1"},
	} {
		if got := eval(t, tt.expression, pac.Env{}); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.expression, got, tt.want)
		}
	}
}

func TestANameIsLookedUpOnceInARun(t *testing.T) {
	var asked []string
	env := pac.Env{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		asked = append(asked, host)
		return nil, errors.New("no such host")
	}}
	eval(t, `isInNet("a.corp", "10.0.0.0", "255.0.0.0") || isResolvable("a.corp") || dnsResolve("b.corp")`, env)
	if diff := cmp.Diff([]string{"a.corp", "b.corp"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestCalendar(t *testing.T) {
	place := time.FixedZone("here", 2*3600)
	// Friday, 27 November 2026, half past twelve here and half past ten at Greenwich.
	noon := time.Date(2026, time.November, 27, 12, 30, 15, 0, place)
	// Half past one on Saturday here, and half past eleven on Friday there.
	night := time.Date(2026, time.November, 28, 1, 30, 15, 0, place)
	for _, tt := range []struct {
		expression  string
		noon, night bool
	}{
		{`weekdayRange("FRI")`, true, false},
		{`weekdayRange("FRI", "GMT")`, true, true},
		{`weekdayRange("MON", "FRI")`, true, false},
		{`weekdayRange("SAT", "MON")`, false, true},
		{`weekdayRange("FRI", "SUN")`, true, true},
		{`weekdayRange("SAT", "THU", "GMT")`, false, false},
		{`weekdayRange("fri")`, false, false}, // as in browsers
		{`weekdayRange("GMT")`, false, false},
		{`weekdayRange()`, false, false},
		{`weekdayRange("MON", "TUE", "FRI")`, false, false},

		{`timeRange(12)`, true, false},
		{`timeRange("12")`, true, false},
		{`timeRange(10, "GMT")`, true, false},
		{`timeRange(9, 17)`, true, false},
		{`timeRange(9, 12)`, true, false}, // until 12:59:59
		{`timeRange(13, 12)`, true, true},
		{`timeRange(22, 6)`, false, true},
		{`timeRange(12, 30, 13, 0)`, true, false},
		{`timeRange(12, 31, 13, 0)`, false, false},
		{`timeRange(8, 30, 12, 30)`, true, false}, // until 12:30:59
		{`timeRange(23, 0, 1, 30)`, false, true},
		{`timeRange(0, 0, 0, 12, 30, 15)`, true, true},
		{`timeRange(0, 0, 0, 12, 30, 14)`, false, true},
		{`timeRange(23, 30, 0, 23, 31, 0, "GMT")`, false, true},
		{`timeRange(1, 2, 3)`, false, false},
		{`timeRange("noon")`, false, false},
		{`timeRange()`, false, false},

		{`dateRange(27)`, true, false},
		{`dateRange(27, "GMT")`, true, true},
		{`dateRange("27")`, true, false},
		{`dateRange(28, 3)`, false, true},
		{`dateRange(1, 27)`, true, false},
		{`dateRange("NOV")`, true, true},
		{`dateRange("JAN", "MAR")`, false, false},
		{`dateRange("NOV", "JAN")`, true, true},
		{`dateRange(2026)`, true, true},
		{`dateRange(2027)`, false, false},
		{`dateRange(1995, 2026)`, true, true},
		{`dateRange(2027, 1995)`, false, false},
		{`dateRange(1, "JUN", 27, "NOV")`, true, false},
		{`dateRange(28, "NOV", 5, "JAN")`, false, true},
		{`dateRange("OCT", 2026, "MAR", 2027)`, true, true},
		{`dateRange("DEC", 2026, "MAR", 2027)`, false, false},
		{`dateRange(1, "JUN", 1995, 27, "NOV", 2026)`, true, false},
		{`dateRange(1, "JUN", 1995, 27, "NOV", 2026, "GMT")`, true, true},
		{`dateRange(28, "NOV", 2026)`, false, true},
		{`dateRange(28, "NOV")`, false, true},
		{`dateRange("nov")`, false, false},
		{`dateRange(0)`, false, false},
		{`dateRange(1, "JUN", 1995)`, false, false},
		{`dateRange(1, 2, 3)`, false, false},
		{`dateRange(1, "NOV", "NOV")`, false, false},
		{`dateRange(1, 2, "NOV", 2026)`, false, false},
		{`dateRange()`, false, false},
	} {
		want := map[bool]string{true: "boolean true", false: "boolean false"}
		for now, expected := range map[time.Time]bool{noon: tt.noon, night: tt.night} {
			if got := eval(t, tt.expression, pac.Env{Now: func() time.Time { return now }}); got != want[expected] {
				t.Errorf("%s at %v is %s", tt.expression, now, got)
			}
		}
	}
}

func TestLocalAddrs(t *testing.T) {
	got := pac.LocalAddrs(t.Context())
	for i, ip := range got {
		if !ip.IsGlobalUnicast() || ip.Zone() != "" || slices.Contains(got[:i], ip) {
			t.Errorf("%v of %v", ip, got)
		}
	}
}
