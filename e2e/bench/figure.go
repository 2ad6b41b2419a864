//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// A figure is what one measurement gave: a list of samples for each contender, in the order of the repetitions, so that the
// samples of one repetition, which were taken one right after the other, can be compared in pairs.
type figure struct {
	name, path, unit string
	goals            []goal
	samples          map[string][]float64
}

// A goal is what the figure of the program has to be, by itself or as a ratio to that of another.
type goal struct {
	limit float64 // 0: there is none, and the ratio is told
	of    string  // the other; empty: the limit is in the figure's unit
	least bool    // at least; otherwise at most
}

func (f *figure) add(contender string, sample float64) {
	if f.samples == nil {
		f.samples = map[string][]float64{}
	}
	f.samples[contender] = append(f.samples[contender], sample)
}

func (f *figure) title() string {
	if f.path == "" {
		return f.name
	}
	return f.name + ", " + f.path
}

// ratios are the pairs' ratios of ours to another's.
func (f *figure) ratios(other string) []float64 {
	var ratios []float64
	for i, sample := range f.samples[ours] {
		if i < len(f.samples[other]) && f.samples[other][i] > 0 {
			ratios = append(ratios, sample/f.samples[other][i])
		}
	}
	return ratios
}

// verdict says how the figure stands to a goal: the goal, what was measured with its range, and whether it is reached.
func (f *figure) verdict(g goal) string {
	measured := f.samples[ours]
	sign, unit := "≤", " "+f.unit
	if g.least {
		sign = "≥"
	}
	if g.of != "" {
		measured, unit = f.ratios(g.of), " × "+g.of
	}
	if len(measured) == 0 {
		return fmt.Sprintf("%s %g%s: not measured", sign, g.limit, unit)
	}
	is := median(measured)
	found := fmt.Sprintf("%s (%s–%s)", number(is), number(slices.Min(measured)), number(slices.Max(measured)))
	if g.limit == 0 {
		return fmt.Sprintf("%s%s", found, unit)
	}
	reached := "**no**"
	if g.least && is >= g.limit || !g.least && is <= g.limit {
		reached = "yes"
	}
	return fmt.Sprintf("%s %g%s: %s %s", sign, g.limit, unit, found, reached)
}

// String is the figure in one line.
func (f *figure) String() string {
	s := f.name + ":"
	for _, c := range columns {
		if len(f.samples[c]) > 0 {
			s += fmt.Sprintf(" %s %s %s,", c, number(median(f.samples[c])), f.unit)
		}
	}
	for _, g := range f.goals {
		s += " " + f.verdict(g)
	}
	return s
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// number shows three digits that count.
func number(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// columns of the table, besides the figure's name, its unit and the goals.
var columns = []string{ours, insists, naive, proxytunnel, relay, socat, overH1, curl, curlAlone}

// render is the figures as a table in Markdown that also reads well as it is.
func render(figures []*figure) string {
	rows := [][]string{append(append([]string{"figure", "unit"}, columns...), "ours / naive", "goal, ratio or figure (range), reached")}
	for _, f := range figures {
		row := []string{f.title(), f.unit}
		for _, c := range columns {
			cell := "–"
			if samples := f.samples[c]; len(samples) > 0 {
				cell = number(median(samples))
			}
			row = append(row, cell)
		}
		ratio := "–"
		if ratios := f.ratios(naive); len(ratios) > 0 {
			ratio = number(median(ratios))
		}
		var verdicts []string
		for _, g := range f.goals {
			verdicts = append(verdicts, f.verdict(g))
		}
		rows = append(rows, append(row, ratio, strings.Join(verdicts, "; ")))
	}
	return align(rows)
}

func align(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	line := func(row []string, fill string) {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(fill, widths[i]-len([]rune(cell))) + " ")
		}
		b.WriteString("|\n")
	}
	line(rows[0], " ")
	line(make([]string, len(widths)), "-")
	for _, row := range rows[1:] {
		line(row, " ")
	}
	return b.String()
}
