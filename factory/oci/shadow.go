package oci

import (
	"bytes"
	"strconv"
	"time"
)

// setLastChange gives every account of a shadow file that has a day of last change the day of at: the build sets these
// to the day it runs. Zero ("must change at next login"), empty fields and lines of another form stay as they are.
func setLastChange(shadow []byte, at time.Time) []byte {
	day := []byte(strconv.FormatInt(at.Unix()/86400, 10))
	lines := bytes.Split(shadow, []byte("\n"))
	for i, line := range lines {
		fields := bytes.Split(line, []byte(":"))
		if len(fields) != 9 {
			continue
		}
		if n, err := strconv.ParseUint(string(fields[2]), 10, 63); err == nil && n > 0 {
			fields[2] = day
			lines[i] = bytes.Join(fields, []byte(":"))
		}
	}
	return bytes.Join(lines, []byte("\n"))
}
