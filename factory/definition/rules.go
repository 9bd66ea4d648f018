package definition

import (
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// rule is what a text in a definition file has to look like. The pattern goes into the JSON schema too, so it keeps to
// what RE2 and ECMAScript have in common.
type rule struct {
	want    string // completes "expected ..."
	pattern string
	length  int                 // bytes at most; 0 means 4096
	check   func(string) string // returns what is wrong beyond the pattern; optional
	advice  func(string) string // returns what to write instead of what the pattern refuses; optional
	compile *regexp.Regexp
}

const (
	uid     = `(0|[1-9][0-9]{0,8})`
	segment = `[^/\x00-\x20]+`
	host    = `[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?`
)

var rules = compiled(map[string]rule{
	"line":        {want: "one line of text", pattern: `^[^\x00-\x20]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$`},
	"value":       {want: "text on one line", pattern: `^[^\x00-\x1f\x7f]*$`},
	"image":       {want: "an image name: lower-case letters, digits, single dots and dashes", pattern: `^[a-z][a-z0-9]*([.-][a-z0-9]+)*$`, length: 63},
	"shared":      {want: "the name of a file in baseimages/shared, without .yaml", pattern: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, length: 63},
	"team":        {want: "a team name: lower-case letters, digits and dashes", pattern: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, length: 63},
	"contact":     {want: "a mail address or an https URL", pattern: `^([A-Za-z0-9._%+-]+@` + host + `|https://` + host + `(:[0-9]+)?(/[^\x00-\x20]*)?)$`},
	"codeowner":   {want: "@organization/team, @user or a mail address", pattern: `^(@[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*|[A-Za-z0-9._%+-]+@` + host + `)$`},
	"family":      {want: "a distribution, like debian", pattern: `^[a-z][a-z0-9-]*$`},
	"release":     {want: `a release in quotes, like "12"`, pattern: `^[0-9]+(\.[0-9]+)*$`},
	"releasever":  {want: `a version of the release in quotes, like "2023.9.20251110", or latest`, pattern: `^([0-9]+(\.[0-9]+)*|latest)$`, length: 63},
	"repository":  {want: "a relative path without . and .., with $releasever and $basearch, like os/$releasever/$basearch", pattern: `^[A-Za-z0-9$_][A-Za-z0-9$_.+-]*(/[A-Za-z0-9$_.+-]+)*$`, check: checkRepository},
	"key":         {want: "the name of a file in baseimages/keys, like redhat-9.asc", pattern: `^[a-z0-9][a-z0-9.-]*\.asc$`, length: 63},
	"fingerprint": {want: "a fingerprint in quotes: 40 upper-case hexadecimal digits without spaces", pattern: `^[0-9A-F]{40}$`},
	"module":      {want: "a module and its stream, like nodejs:20", pattern: `^[A-Za-z0-9][A-Za-z0-9+._-]*:[A-Za-z0-9][A-Za-z0-9+._-]*$`, length: 128},
	"codename":    {want: "a code name, like bookworm", pattern: `^[a-z][a-z0-9-]*$`},
	"archive":     {want: "an archive id, like debian-security (its URL is configuration, not definition)", pattern: `^[a-z][a-z0-9]*([.-][a-z0-9]+)*$`, length: 63},
	"suite":       {want: "a suite, like bookworm-security", pattern: `^[a-z0-9][a-z0-9.+-]*$`},
	"component":   {want: "a component, like main", pattern: `^[a-z][a-z0-9-]*$`},
	"keyring":     {want: "a file name below /usr/share/keyrings of the toolbox, like debian-archive-keyring.gpg", pattern: `^[a-z0-9][a-z0-9.+_-]*\.(gpg|pgp|asc)$`},
	"package":     {want: "a package name without version or architecture, like libpam-modules", pattern: `^[A-Za-z0-9][A-Za-z0-9+._-]+$`, length: 128},
	"platform":    {want: "linux/amd64 or linux/arm64", pattern: `^linux/(amd64|arm64)$`},
	"glob":        {want: "an absolute path, * and ? allowed, like /usr/share/man/*", pattern: `^(/` + segment + `)+$`, check: cleanPath},
	"path":        {want: "an absolute path without . and ..", pattern: `^(/|(/` + segment + `)+)$`, check: cleanPath},
	"added":       {want: "an absolute path without . and .., not of the kernel's or of the package manager's", pattern: `^(/` + segment + `)+$`, check: checkAdded},
	"source":      {want: "a file below files/ of the image's folder, like files/motd", pattern: `^files(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$`, length: 255, check: checkSource},
	"permissions": {want: `permissions as four octal digits in quotes, like "0644"; no file gets a setuid bit`, pattern: `^0[0-7]{3}$`},
	"dockerfile":  {want: "Dockerfile or Containerfile, in the image's folder", pattern: `^(Dockerfile|Containerfile)$`},
	"account":     {want: "an account name: lower-case letters, digits, _ and -", pattern: `^[a-z_][a-z0-9_-]*$`, length: 32},
	"user":        {want: `a numeric user, "uid" or "uid:gid", in quotes`, pattern: `^` + uid + `(:` + uid + `)?$`},
	"variable":    {want: "the name of an environment variable: letters, digits and _", pattern: `^[A-Za-z_][A-Za-z0-9_]*$`},
	"rolevar":     {want: "the name of a role variable: lower-case letters, digits and _", pattern: `^[a-z_][a-z0-9_]*$`},
	"label":       {want: "a label, like org.opencontainers.image.vendor", pattern: `^[a-z0-9]([a-zA-Z0-9._/-]*[a-zA-Z0-9])?$`},
	"signal":      {want: "a signal, like SIGTERM", pattern: `^SIG[A-Z]+[0-9]*$`},
	"profile":     {want: "the name of a file in ansible/profiles, without .yaml", pattern: `^[a-z][a-z0-9_]*$`, length: 63},
	"role":        {want: "the name of a folder in ansible/roles", pattern: `^[a-z][a-z0-9_]*$`, length: 63},
	"playbook":    {want: "the name of a file in ansible, like site.yml", pattern: `^[a-z0-9_][a-z0-9_-]*\.ya?ml$`},
	"control":     {want: `a control's id in quotes, like "5.4.1.1"`, pattern: `^[0-9]+(\.[0-9]+)+$`, length: 32},
	"date":        {want: "a day, like 2026-11-23", pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, check: checkDate},
	"accepted":    {want: "a vulnerability (CVE-2026-1234) or an XCCDF rule (accounts_tmout)", pattern: `^(CVE-[0-9]{4}-[0-9]{4,}|[A-Z][A-Z0-9]*(-[A-Za-z0-9.+~:_]+)+|[a-z][a-z0-9_]*)$`, length: 200, check: checkAccepted, advice: adviseAccepted},
	"pack":        {want: "the name of a file in baseimages/packs, without .yaml", pattern: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, length: 63},
	"link":        {want: "an https URL", pattern: `^https://` + host + `(:[0-9]+)?(/[^\x00-\x20]*)?$`},
	"age":         {want: "an age in hours or days, like 48h or 7d", pattern: `^[1-9][0-9]{0,3}[hd]$`},
	"mode":        {want: `four octal digits in quotes, like "0644"`, pattern: `^[0-7]{4}$`},
	"owner":       {want: "user:group by name, like root:shadow", pattern: `^[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*$`},
	"regexp":      {want: "a regular expression (RE2)", pattern: ``, check: checkRegexp},
	"dependent":   {want: "a dependent's name: lower-case letters, digits, dots and dashes", pattern: `^[a-z0-9]+([._-][a-z0-9]+)*$`, length: 63},
	"code":        {want: "a repository as its server names it, like payments/api", pattern: `^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`, length: 200, check: checkInside},
	"published":   {want: "a registry and a repository without a tag, like registry.example.com/payments/api", pattern: `^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`, length: 255},
	"server":      {want: "the id of a server in factory.yaml, like ci (its URL is configuration, not definition)", pattern: `^[a-z][a-z0-9]*([.-][a-z0-9]+)*$`, length: 63},
	"event":       {want: "the type of an event: letters, digits, _, . and -", pattern: `^[A-Za-z0-9][A-Za-z0-9_.-]*$`, length: 100},
	"workflow":    {want: "the file of a workflow, like build.yml", pattern: `^[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml$`, length: 200},
	"inside":      {want: "a relative path without . and .., like folder/name", pattern: `^[A-Za-z0-9_.@+=,%~-]+([/ ][A-Za-z0-9_.@+=,%~-]+)*$`, length: 500, check: checkInside},
	"argument":    {want: "an argument without NUL", pattern: `^[^\x00]*$`},
})

func compiled(all map[string]rule) map[string]rule {
	for name, r := range all {
		r.compile = regexp.MustCompile(r.pattern)
		if r.length == 0 {
			r.length = 4096
		}
		all[name] = r
	}
	return all
}

func (r rule) ok(s string) (detail string, ok bool) {
	if len(s) > r.length || !r.compile.MatchString(s) {
		if r.advice != nil {
			detail = r.advice(s)
		}
		return detail, false
	}
	if r.check != nil {
		if detail = r.check(s); detail != "" {
			return detail, false
		}
	}
	return "", true
}

func cleanPath(s string) string {
	if path.Clean(s) != s {
		return "write it as " + path.Clean(s)
	}
	return ""
}

// managed are the folders that no definition puts files into: a running kernel's, and where the package manager says what is
// installed.
var managed = []string{"/proc", "/sys", "/dev", "/var/lib/dpkg", "/var/lib/rpm", "/usr/lib/sysimage/rpm"}

func checkAdded(s string) string {
	for _, dir := range managed {
		if s == dir || strings.HasPrefix(s, dir+"/") {
			return "nothing is put below " + dir
		}
	}
	return cleanPath(s)
}

func checkSource(s string) string {
	for part := range strings.SplitSeq(s, "/") {
		if Leftover(part) {
			return "files that tools leave behind are no part of a definition"
		}
	}
	return cleanPath(s)
}

// repositoryVariable is what may follow a dollar sign in a repository's path.
var repositoryVariable = regexp.MustCompile(`\$([A-Za-z0-9_]*)`)

func checkRepository(s string) string {
	for _, m := range repositoryVariable.FindAllStringSubmatch(s, -1) {
		if m[1] != "releasever" && m[1] != "basearch" {
			return "there is no variable $" + m[1]
		}
	}
	return cleanPath(s)
}

func checkDate(s string) string {
	if d, err := factory.ParseDate(s); err != nil || d.Time().Before(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		return "there is no such day"
	}
	return ""
}

// xccdfRule is what the benchmark's content puts before a rule's name.
const xccdfRule = "xccdf_org.ssgproject.content_rule_"

var (
	cve     = regexp.MustCompile(`^CVE-([0-9]{4})-[0-9]{4,}$`)
	anyCase = regexp.MustCompile(`(?i)^(cve|ghsa|dsa|dla|temp|debsec|rhsa|alas)[-0-9]`)
)

// checkAccepted refuses what looks like a CVE and is none: nothing would ever match it.
func checkAccepted(s string) string {
	if !strings.HasPrefix(s, "CVE-") {
		return ""
	}
	m := cve.FindStringSubmatch(s)
	switch {
	case m == nil:
		return "a CVE has a year and at least four digits: CVE-2026-0123"
	case m[1] < "1999":
		return "the first CVEs are of 1999"
	}
	return ""
}

// isRule tells an XCCDF rule from a vulnerability.
func isRule(accepted string) bool {
	return accepted != "" && accepted[0] >= 'a' && accepted[0] <= 'z'
}

func adviseAccepted(s string) string {
	if name, ok := strings.CutPrefix(s, xccdfRule); ok {
		return "write the rule without the content's prefix: " + name
	}
	if anyCase.MatchString(s) && s != strings.ToUpper(s) && !strings.HasPrefix(strings.ToUpper(s), "GHSA") {
		return "write it in capitals: " + strings.ToUpper(s)
	}
	return ""
}

func checkRegexp(s string) string {
	if _, err := regexp.Compile(s); err != nil {
		return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	return ""
}
