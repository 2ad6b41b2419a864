package pac

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

var (
	days   = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	months = []string{"", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
)

// zone takes a last argument "GMT" off, which means what it says; all else is
// the time of the place.
func zone(now time.Time, args []string) (time.Time, []string) {
	if n := len(args); n > 0 && args[n-1] == "GMT" {
		return now.UTC(), args[:n-1]
	}
	return now, args
}

// between includes both ends. A range that ends before it begins goes around:
// FRI to MON, 22 to 6 o'clock, DEC to FEB.
func between[T cmp.Ordered](from, x, to T) bool {
	if from <= to {
		return from <= x && x <= to
	}
	return x >= from || x <= to
}

// weekdayRange(day [, day] [, "GMT"])
func weekdayRange(now time.Time, args []string) bool {
	now, args = zone(now, args)
	if len(args) < 1 || len(args) > 2 {
		return false
	}
	from, to := slices.Index(days, args[0]), slices.Index(days, args[len(args)-1])
	return from >= 0 && to >= 0 && between(from, int(now.Weekday()), to)
}

// timeRange(hour), (hour, hour), (h, m, h, m), (h, m, s, h, m, s), each with
// "GMT" or without. A range includes the last hour, minute or second that it
// names: (9, 17) lasts until 17:59:59, as in browsers. The paper of 1996 can be
// read so that it ends at 17:00.
func timeRange(now time.Time, args []string) bool {
	now, args = zone(now, args)
	numbers := make([]int, len(args))
	for i, arg := range args {
		var err error
		if numbers[i], err = strconv.Atoi(arg); err != nil {
			return false
		}
	}
	half := len(numbers) / 2
	switch len(numbers) {
	case 1:
		numbers, half = append(numbers, numbers[0]), 1
	case 2, 4, 6:
	default:
		return false
	}
	second := func(clock []int, missing int) int {
		full := [3]int{missing, missing, missing}
		copy(full[:], clock)
		return full[0]*3600 + full[1]*60 + full[2]
	}
	h, m, s := now.Clock()
	return between(second(numbers[:half], 0), second([]int{h, m, s}, 0), second(numbers[half:], 59))
}

// date has 0 for what it leaves open.
type date struct{ year, month, day int }

// dateRange takes a day, a month, a year, or a combination, and two of the same
// shape for a range; with "GMT" or without. A range over years does not go
// around.
func dateRange(now time.Time, args []string) bool {
	now, args = zone(now, args)
	from, ok := parseDate(args)
	to := from
	if !ok { // something is there twice: two dates
		half := len(args) / 2
		var ok1, ok2 bool
		from, ok1 = parseDate(args[:half])
		to, ok2 = parseDate(args[half:])
		if !ok1 || !ok2 {
			return false
		}
	}
	if to != to.shaped(from) || from != from.shaped(to) || from.year != 0 && from.number() > to.number() {
		return false
	}
	today := date{now.Year(), int(now.Month()), now.Day()}.shaped(from)
	return between(from.number(), today.number(), to.number())
}

// shaped leaves open what the other leaves open.
func (d date) shaped(other date) date {
	if other.year == 0 {
		d.year = 0
	}
	if other.month == 0 {
		d.month = 0
	}
	if other.day == 0 {
		d.day = 0
	}
	return d
}

func (d date) number() int { return (d.year*100+d.month)*100 + d.day }

func parseDate(args []string) (d date, ok bool) {
	for _, arg := range args {
		n, err := strconv.Atoi(arg)
		field := &d.year
		if err != nil {
			n, field = slices.Index(months, arg), &d.month
		} else if n < 32 {
			field = &d.day
		}
		if n < 1 || *field != 0 {
			return date{}, false
		}
		*field = n
	}
	return d, len(args) > 0
}
