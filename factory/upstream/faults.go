package upstream

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Exit codes of the scripts.
const (
	exitFetch    = 10
	exitSolution = 11
)

// fault translates what apt said when it gave up. It is given apt's words in English: the scripts see to that.
type fault struct {
	img     factory.Image
	srcs    []source
	keyring string
}

// explain returns every fault of a step that did not exit 0, in the order of the definition's archives.
func (f fault) explain(res factory.StepResult) error {
	text := string(res.Stdout) + "\n" + string(res.Stderr)
	switch res.Exit {
	case exitFetch:
		return f.fetching(messages(text))
	case exitSolution:
		return f.solving(text)
	}
	return fmt.Errorf("lock %s: the solver ended with %d: %s", f.img.Name, res.Exit, strings.Join(complaints(text), "; "))
}

// messages cuts apt's output into its messages, each with the indented lines that follow it.
func messages(text string) (all []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) && len(all) > 0 {
			all[len(all)-1] += "\n" + strings.TrimSpace(line)
			continue
		}
		all = append(all, line)
	}
	return all
}

// meaning is what a part of a message means.
type meaning struct {
	phrase *regexp.Regexp
	kind   error
	what   string
	hint   string
}

// The first that fits counts: apt also calls a suite "not signed" that it could not fetch.
var meanings = []meaning{
	{regexp.MustCompile(`NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|[Ss]ignatures? (couldn't be verified|were invalid|verification failed)|Clearsigned file isn't valid|is not readable|signed by untrusted|[Mm]issing key|sqv returned an error`),
		factory.ErrUnverified, "its signature does not hold", ""},
	{regexp.MustCompile(`Hash Sum mismatch|unexpected size|[Ii]nsufficiently|weak security`),
		factory.ErrUnverified, "the file is not the one that was signed", "a mirror in the middle of an update does this: try again in a few minutes"},
	{regexp.MustCompile(`is expired \(invalid since`), factory.ErrUnverified, "its signed release is past its Valid-Until", "the mirror has stopped following, or this machine's clock is wrong"},
	{regexp.MustCompile(`is not valid yet`), factory.ErrUnverified, "its signed release lies in the future", "check this machine's clock"},
	{regexp.MustCompile(`does not have a Release file|no longer has a Release file`), factory.ErrUnavailable, "there is no such suite", "check archives in the definition, and the archive's URL in factory.yaml"},
	{regexp.MustCompile(`\b(404|410)\s+(Not Found|Gone)`), factory.ErrUnavailable, "it is not there", "the archive has moved on, or its URL in factory.yaml is wrong"},
	{regexp.MustCompile(`^Err:|Failed to fetch`), factory.ErrUnavailable, "the archive does not answer", ""},
	{regexp.MustCompile(`is not signed`), factory.ErrUnverified, "it is not signed", ""},
}

// fetching finds for each source and file the first meaning, in the order of meanings, that a message about it has.
func (f fault) fetching(msgs []string) error {
	type place struct {
		source int
		file   string
	}
	best := map[place]int{}
	cause := map[place]string{}
	for _, m := range msgs {
		i := slices.IndexFunc(meanings, func(k meaning) bool { return k.phrase.MatchString(m) })
		s, file := f.locate(m)
		if i < 0 || s < 0 || strings.HasPrefix(m, "Ign:") {
			continue
		}
		at := place{s, file}
		if old, ok := best[at]; !ok || i < old {
			best[at], cause[at] = i, reason(m)
		}
	}
	places := make([]place, 0, len(best))
	for at, i := range best {
		// A suite without release has nothing else to say, and "not signed" says nothing that its fault did not.
		if first, ok := best[place{at.source, inRelease}]; at.file == inRelease || !ok || first > i {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.source != b.source {
			return a.source - b.source
		}
		return strings.Compare(a.file, b.file)
	})
	var errs []error
	for _, at := range places {
		k := meanings[best[at]]
		hint := k.hint
		if k.kind == factory.ErrUnverified && at.file == inRelease && hint == "" {
			hint = "it must be signed by a key in " + f.keyring
		}
		errs = append(errs, &factory.Problem{Kind: k.kind, What: fmt.Sprintf("archive %s: %s: %s", f.srcs[at.source], at.file, k.what), Hint: hint, Cause: errors.New(cause[at])})
	}
	switch len(errs) {
	case 0:
		return &factory.Problem{Kind: factory.ErrUnavailable, What: f.img.Name + ": apt could not read the archives", Cause: errors.New(strings.Join(complaints(strings.Join(msgs, "\n")), "; "))}
	case 1:
		return errs[0]
	}
	return errors.Join(errs...)
}

const inRelease = "InRelease"

// locate says which source a message is about, and which of its files; -1 = none.
func (f fault) locate(msg string) (int, string) {
	for i, s := range f.srcs {
		if _, rest, ok := strings.Cut(msg, s.url+"/dists/"+s.Suite+"/"); ok {
			return i, releaseName(word(rest))
		}
		if _, rest, ok := strings.Cut(msg, s.url+" "+s.Suite+" "); ok {
			return i, releaseName(word(rest))
		}
		// "URL suite/main amd64 Packages"
		if _, rest, ok := strings.Cut(msg, s.url+" "+s.Suite+"/"); ok {
			if w := strings.Fields(rest); len(w) >= 3 {
				return i, w[0] + "/binary-" + w[1] + "/" + w[2]
			}
		}
	}
	for i, s := range f.srcs {
		if _, rest, ok := strings.Cut(msg, s.url+"/pool/"); ok {
			return i, "pool/" + word(rest)
		}
	}
	return -1, ""
}

func word(s string) string {
	if i := strings.IndexAny(s, " '\n"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimRight(s, ":")
}

func releaseName(s string) string {
	if s == "Release" || s == "Release.gpg" {
		return inRelease
	}
	for _, suffix := range []string{".xz", ".gz", ".bz2", ".lzma", ".zst"} {
		s = strings.TrimSuffix(s, suffix)
	}
	return s
}

var address = regexp.MustCompile(` \[IP: [^\]]*\]`)

// reason is the part of a message that says why, without addresses.
func reason(msg string) string {
	first, rest, _ := strings.Cut(msg, "\n")
	text := first
	if _, after, ok := strings.Cut(first, "  "); ok {
		text = after // Failed to fetch URL  reason
	} else if next, _, _ := strings.Cut(rest, "\n"); strings.HasPrefix(first, "Err:") && next != "" {
		text = next
	} else if _, after, ok := strings.Cut(first, "InRelease: "); ok {
		text = after
	}
	text, _, _ = strings.Cut(text, "Stack backtrace")
	text = strings.Join(strings.Fields(address.ReplaceAllString(strings.TrimPrefix(text, "E: "), "")), " ")
	return text[:min(len(text), 300)]
}

var (
	notFound = regexp.MustCompile(`(?m)^E: (?:Unable to locate package|Couldn't find any package by (?:glob|regex)) '?([^\s']+)'?|^E: Package '?([^\s']+)'? has no installation candidate`)
	unmet    = regexp.MustCompile(`(?m)^ +([a-z0-9][^\s]* : .*(?:\n {3,}.*)*)`)
)

// solving explains why there is no solution.
func (f fault) solving(text string) error {
	var errs []error
	for _, m := range notFound.FindAllStringSubmatch(text, -1) {
		errs = append(errs, missing(f.img, f.srcs, m[1]+m[2]))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	var why []string
	for _, m := range unmet.FindAllStringSubmatch(text, -1) {
		why = append(why, strings.Join(strings.Fields(m[1]), " "))
	}
	if len(why) == 0 {
		why = complaints(text)
	}
	return &factory.Problem{
		Kind: factory.ErrInvalid, Where: f.img.Where, What: f.img.Name + ": its packages cannot be installed together", Cause: errors.New(strings.Join(why, "; ")),
		Hint: "look at include and exclude in its definition",
	}
}

// complaints are apt's errors, at most five.
func complaints(text string) (all []string) {
	for line := range strings.Lines(text) {
		if after, ok := strings.CutPrefix(strings.TrimSpace(line), "E: "); ok && len(all) < 5 {
			all = append(all, address.ReplaceAllString(after, ""))
		}
	}
	if len(all) == 0 {
		text = strings.TrimSpace(text)
		all = []string{text[max(0, len(text)-300):]}
	}
	return all
}
