package upstream

// letters knows whether a server echoes the letter case of the names that it is asked for. The zero value does not know
// yet.
type letters struct {
	habit  habit
	echoed int // replies in a row, while it is not known
}

type habit uint8

const (
	unknown habit = iota
	echoes        // a reply in another letter case is not the server's
	folds         // names are not worth mixing
)

// certain is how many replies in a row have to echo the letter case.
const certain = 8

// mixed reports whether names are to be sent in random letter case.
func (l *letters) mixed() bool { return l.habit != folds }

// believe reports whether a reply may be the server's, by whether it echoed the case of so many letters.
func (l *letters) believe(letters int, exact bool) bool {
	switch {
	case letters == 0:
	case l.habit == echoes:
		return exact
	case l.habit == folds:
	case !exact:
		l.habit = folds
	default:
		if l.echoed++; l.echoed == certain {
			l.habit = echoes
		}
	}
	return true
}

// doubt is told when nothing came but a reply in another letter case: perhaps another program answers there now.
func (l *letters) doubt() { *l = letters{} }
