package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Text is the report for a person: what to look at first, and then, if nothing is wrong, what is served.
func (r *Report) Text() string {
	var out strings.Builder
	writeFindings(&out, r.Findings)
	fmt.Fprintf(&out, "%s: %s\n", r.File, r.verdict())
	for _, b := range r.Blocks {
		out.WriteByte('\n')
		b.write(&out, r.File)
	}
	return out.String()
}

// writeFindings writes a line for each, in the form in which compilers have them.
func writeFindings(out *strings.Builder, findings []Finding) {
	for _, f := range findings {
		fmt.Fprintf(out, "%s:%d: %s: ", f.File, f.Line, f.Severity)
		if f.Directive != "" {
			out.WriteString(f.Directive + ": ")
		}
		out.WriteString(f.Text + "\n")
	}
}

// verdict says whether the file can be used, and how much there is to look at.
func (r *Report) verdict() string {
	var parts []string
	for _, severity := range []Severity{Error, Warning, Note} {
		switch n := r.count(severity); n {
		case 0:
		case 1:
			parts = append(parts, "1 "+string(severity))
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", n, severity))
		}
	}
	said := "it can be served"
	if r.Worst() == Error {
		said = "it cannot be served"
	}
	if len(parts) == 0 {
		return said
	}
	return said + ": " + strings.Join(parts, ", ")
}

// write writes a block: where it is asked, and what becomes of a query.
func (b *Block) write(out *strings.Builder, main string) {
	fmt.Fprintf(out, "%4s  server block for %s, asked at %s\n", place(b.File, b.Line, main), list(b.Zones), list(b.listeners()))
	writeAll(out, "a query goes through, until one of them answers:", b.Steps, main)
	switch {
	case len(b.Steps) == 0:
		out.WriteString("    nothing answers here: every query is REFUSED\n")
	case len(b.Open) > 0:
		fmt.Fprintf(out, "      %-12s what none of them answers under %s is SERVFAIL\n", "", list(b.Open))
	}
	writeAll(out, "beside that:", b.Beside, main)
}

func writeAll(out *strings.Builder, title string, directives []Directive, main string) {
	if len(directives) == 0 {
		return
	}
	fmt.Fprintf(out, "    %s\n", title)
	for _, d := range directives {
		last := -1
		for i, does := range d.Does {
			where, name := "", ""
			if does.Line != last {
				where, last = place(d.File, does.Line, main), does.Line
			}
			if i == 0 {
				name = d.Name
			}
			fmt.Fprintf(out, "%4s  %-12s %s%s\n", where, name, does.Text, elsewhere(i, d, main))
		}
	}
}

// listeners are the names of those where the block is asked.
func (b *Block) listeners() []string {
	var names []string
	for _, s := range b.Served {
		if !slices.Contains(names, s.Listener) {
			names = append(names, s.Listener)
		}
	}
	return names
}

// place is the number of a line, "" in an imported file.
func place(file string, line int, main string) string {
	if file != main {
		return ""
	}
	return strconv.Itoa(line)
}

// elsewhere says which imported file a directive is from, where its first part is told.
func elsewhere(part int, d Directive, main string) string {
	if part > 0 || d.File == main {
		return ""
	}
	return fmt.Sprintf(" (%s:%d)", d.File, d.Line)
}

func list(words []string) string {
	if len(words) == 0 {
		return "no address"
	}
	const most = 16
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], " "), len(words)-most)
	}
	return strings.Join(words, " ")
}
