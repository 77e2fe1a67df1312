package config

// Near is the one of the words that a misspelt one was most likely to be, "" where none is near: letters that are wrong,
// left out, too many or in another order, one in three at most.
func Near(word string, words []string) string {
	best, least := "", maxWord
	for _, candidate := range words {
		if candidate == word {
			return ""
		}
		if d := distance(word, candidate); d < least && d <= max(len(word), len(candidate))/3 {
			best, least = candidate, d
		}
	}
	return best
}

// DidYouMean is a question to put behind an error about a word, "" where none of the words is near.
func DidYouMean(word string, words []string) string {
	if near := Near(word, words); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}

// maxWord is how long a word may be that is compared, in bytes: no directive or option is that long.
const maxWord = 64

// distance is how many changes make one word the other: a letter more, less or another, or two that have changed places.
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
	}
	var rows [3][maxWord + 1]int // the row before the last, the last, and this one
	for j := range len(b) + 1 {
		rows[2][j] = j
	}
	for i := range len(a) {
		rows[0], rows[1] = rows[1], rows[2]
		rows[2][0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(rows[1][j]+cost, rows[1][j+1]+1, rows[2][j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, rows[0][j-1]+1)
			}
			rows[2][j+1] = d
		}
	}
	return rows[2][len(b)]
}
