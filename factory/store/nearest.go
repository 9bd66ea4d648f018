package store

// nearest returns the name that differs least from s, empty when none is near: at most a third of its letters may differ.
func nearest(s string, names []string) string {
	best, found := len(s)/3+1, ""
	if len(s) > 300 {
		return ""
	}
	for _, name := range names {
		if gap := len(name) - len(s); max(gap, -gap) < best {
			if d := distance(s, name); d < best {
				best, found = d, name
			}
		}
	}
	return found
}

// distance counts the bytes to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
