package definition

import "github.com/imagefactory/imagefactory/factory"

// imageFile is baseimages/<name>/image.yaml. The schema is made from these types: the doc tags are what an editor shows.
type imageFile struct {
	Where      factory.Position
	Use        []text        `yaml:"use" is:"shared" doc:"Files in baseimages/shared (without .yaml) whose image part this definition continues: mappings merge, lists concatenate, the image's own values win."`
	Kind       text          `yaml:"kind" enum:"base,toolbox" need:"yes" doc:"base: an image that others build on; toolbox: the factory's own tools, never published."`
	Summary    text          `yaml:"summary" is:"line" need:"yes" doc:"What the image is, in one line."`
	From       text          `yaml:"from" is:"image" doc:"The image that this one is built on. What is not said here is as it is there; lists of names are added to those of the parent."`
	Only       []text        `yaml:"only" is:"package" doc:"The packages of the parent that the image has, without what they depend on; nothing else of the parent stays. Children only."`
	Files      []addedFile   `yaml:"files" doc:"Files that are put into the image after its packages. Children only."`
	Dockerfile text          `yaml:"dockerfile" is:"dockerfile" doc:"A file of this folder that is run on the parent, without network; its context is files/. What it sets (ENV, CMD, USER, EXPOSE, ...) is the image's where config here does not say otherwise. Children only."`
	Distro     distroFile    `yaml:"distro" need:"yes" doc:"The release of the distribution."`
	EndOfLife  text          `yaml:"endOfLife" is:"date" doc:"The last day on which the distribution fixes vulnerabilities of this release. A base image needs it."`
	Archives   []archiveFile `yaml:"archives" need:"yes" doc:"The suites that packages come from."`
	Keyring    text          `yaml:"keyring" is:"keyring" doc:"File below /usr/share/keyrings of the toolbox whose keys must have signed every archive. Debian only, and needed there."`
	Keys       []keyFile     `yaml:"keys" doc:"The keys that every package must be signed with, and the repositories' metadata. RPM families only, and needed there."`
	Packages   packagesFile  `yaml:"packages" need:"yes" doc:"What is asked of the archive's solver; the solver decides the rest."`
	Platforms  []text        `yaml:"platforms" is:"platform" need:"yes" doc:"What the image is built for: linux/amd64, linux/arm64."`
	Users      []userFile    `yaml:"users" doc:"Accounts that the image ships beyond the distribution's own."`
	Hardening  hardeningFile `yaml:"hardening" doc:"The benchmark profile, and what is left out of it."`
	Config     configFile    `yaml:"config" doc:"The image configuration that consumers see. Of a child: what is not said here is as its Dockerfile sets it, else as the parent's release has it."`
}

type distroFile struct {
	Where    factory.Position
	Family   text `yaml:"family" enum:"debian,redhat,amazon" need:"yes" doc:"The distribution."`
	Release  text `yaml:"release" is:"release" need:"yes" doc:"Its release, in quotes: \"12\"."`
	Codename text `yaml:"codename" is:"codename" doc:"The release's code name: bookworm."`
	// A release such as Amazon Linux 2023 has versions of its own.
	Releasever text `yaml:"releasever" is:"releasever" doc:"What $releasever stands for in the repositories' paths, when not the release: latest, or \"2023.9.20251110\". RPM families only."`
}

type addedFile struct {
	Where  factory.Position
	Path   text `yaml:"path" is:"added" need:"yes" doc:"Where it lies in the image, absolute."`
	Source text `yaml:"source" is:"source" need:"yes" doc:"The file, below files/ of this folder: files/motd."`
	Mode   text `yaml:"mode" is:"permissions" doc:"Its permissions, four octal digits in quotes; \"0644\" when not given."`
	Owner  text `yaml:"owner" is:"user" doc:"Its owner, \"uid:gid\" in quotes; \"0:0\" when not given."`
}

type keyFile struct {
	Where       factory.Position
	File        text `yaml:"file" is:"key" need:"yes" doc:"File in baseimages/keys with the armored public key."`
	Fingerprint text `yaml:"fingerprint" is:"fingerprint" need:"yes" doc:"The key's fingerprint, 40 upper-case hexadecimal digits in quotes, as its owner publishes it."`
}

type archiveFile struct {
	Where        factory.Position
	ID           text   `yaml:"id" is:"archive" need:"yes" doc:"The archive's id; configuration says at which URL it is reached."`
	Suite        text   `yaml:"suite" is:"suite" need:"yes" doc:"The suite: bookworm-security; of RPM families the repository's name: baseos."`
	Components   []text `yaml:"components" is:"component" doc:"The suite's components: main. Debian only, and needed there."`
	Path         text   `yaml:"path" is:"repository" doc:"The repository's folder below the archive's URL, with $releasever and $basearch. An RPM repository needs this or mirrorList."`
	MirrorList   text   `yaml:"mirrorList" is:"repository" doc:"Instead of path: a file below the archive's URL that says where the repository is."`
	Only         []text `yaml:"only" is:"package" doc:"Take these packages from the suite and no others."`
	AllowExpired bool   `yaml:"allowExpired" doc:"Accept a Release file past its Valid-Until. Needs only. Debian only."`

	UnsignedMetadata bool `yaml:"unsignedMetadata" doc:"Accept a repomd.xml that nobody signed; the packages must be signed all the same. RPM families only."`
}

type packagesFile struct {
	Where     factory.Position
	Essential bool   `yaml:"essential" doc:"Include what the archive marks Essential: yes or Priority: required, and apt. Debian only."`
	Include   []text `yaml:"include" is:"package" doc:"Packages to install, with what they depend on."`
	Exclude   []text `yaml:"exclude" is:"package" doc:"Packages that must not be installed."`
	Modules   []text `yaml:"modules" is:"module" doc:"Streams of modular RPM repositories that are enabled: nodejs:20."`
	OmitPaths []text `yaml:"omitPaths" is:"glob" doc:"Files that are never unpacked, here and in child images (dpkg path-exclude). Of RPM families whole folders: /usr/share/man/*."`
	KeepPaths []text `yaml:"keepPaths" is:"glob" doc:"Exceptions to omitPaths (dpkg path-include). Debian only."`
}

type userFile struct {
	Where factory.Position
	Name  text   `yaml:"name" is:"account" need:"yes" doc:"The account's name."`
	UID   number `yaml:"uid" range:"1,999999999" need:"yes" doc:"Its user id."`
	GID   number `yaml:"gid" range:"1,999999999" need:"yes" doc:"Its group id; the group has the account's name."`
	Home  text   `yaml:"home" is:"path" need:"yes" doc:"Its home folder, which the build makes."`
	Shell text   `yaml:"shell" is:"path" need:"yes" doc:"Its login shell."`
}

type hardeningFile struct {
	Where   factory.Position
	Profile text            `yaml:"profile" is:"profile" need:"yes" doc:"The profile: a file in ansible/profiles, without .yaml."`
	Level   number          `yaml:"level" range:"1,2" need:"yes" doc:"The benchmark's level, 1 or 2."`
	Scope   text            `yaml:"scope" enum:"container,vm" need:"yes" doc:"What the image runs as: decides which controls can have an effect."`
	Exempt  []exemptionFile `yaml:"exempt" doc:"Controls that are switched off, each with a reason and an end."`
	Vars    table[free]     `yaml:"vars" keys:"rolevar" doc:"Variables for the profile's roles: text, numbers, truth values, lists of text."`
}

type exemptionFile struct {
	Where   factory.Position
	Control text `yaml:"control" is:"control" need:"yes" doc:"The control's id in the profile: \"5.4.1.1\"."`
	Reason  text `yaml:"reason" is:"line" need:"yes" doc:"Why it is left out, in one line."`
	Until   text `yaml:"until" is:"date" need:"yes" doc:"The last day of the exemption, UTC."`
}

type configFile struct {
	Where      factory.Position
	User       text        `yaml:"user" is:"user" doc:"The user that containers run as, \"uid:gid\" in quotes. A base image needs one that is not root."`
	Env        table[text] `yaml:"env" keys:"variable" is:"value" doc:"Environment variables."`
	Workdir    text        `yaml:"workdir" is:"path" doc:"The folder that containers start in."`
	Entrypoint []text      `yaml:"entrypoint" is:"argument" argv:"yes" doc:"What every container runs; replaces a shared one."`
	Cmd        []text      `yaml:"cmd" is:"argument" argv:"yes" doc:"What a container runs when it is told nothing else; replaces a shared one."`
	StopSignal text        `yaml:"stopSignal" is:"signal" doc:"The signal that ends a container."`
	Labels     table[text] `yaml:"labels" keys:"label" is:"value" doc:"Labels of the image."`
}

// testsFile is baseimages/<name>/tests.yaml.
type testsFile struct {
	Where    factory.Position
	Use      []text          `yaml:"use" is:"shared" doc:"Files in baseimages/shared (without .yaml) whose tests part these tests continue."`
	Commands []commandFile   `yaml:"commands" doc:"Commands that run in the built image, without a shell."`
	Files    []fileFile      `yaml:"files" doc:"What paths are, or that they are not there."`
	Packages packageTestFile `yaml:"packages" doc:"Packages that are installed, and packages that are not."`
	Users    []userTestFile  `yaml:"users" doc:"Accounts."`
	Setuid   []text          `yaml:"setuid" is:"path" doc:"Every file that may carry the setuid or setgid bit; none beyond these."`
	NonRoot  bool            `yaml:"nonRoot" doc:"The image's user must not be root."`
}

type commandFile struct {
	Where   factory.Position
	Name    text   `yaml:"name" is:"line" need:"yes" doc:"What the command shows, as a phrase: prints its release."`
	Run     []text `yaml:"run" is:"argument" argv:"yes" need:"yes" doc:"The command and its arguments."`
	User    text   `yaml:"user" is:"user" doc:"Who runs it; the image's own user when empty."`
	Exit    number `yaml:"exit" range:"0,255" doc:"The exit code that is expected; 0 when not given."`
	Stdout  text   `yaml:"stdout" is:"regexp" doc:"A regular expression that its output must match."`
	Stderr  text   `yaml:"stderr" is:"regexp" doc:"A regular expression that its error output must match."`
	Timeout number `yaml:"timeout" range:"1,3600" doc:"Seconds; 30 when not given."`
}

type fileFile struct {
	Where    factory.Position
	Path     text `yaml:"path" is:"path" need:"yes" doc:"The path, absolute."`
	Absent   bool `yaml:"absent" doc:"Nothing is there."`
	Type     text `yaml:"type" enum:"file,directory,symlink" doc:"What is there."`
	Mode     text `yaml:"mode" is:"mode" doc:"Its permissions, four octal digits in quotes."`
	Owner    text `yaml:"owner" is:"owner" doc:"Its owner, user:group by name."`
	Contains text `yaml:"contains" is:"argument" doc:"Text that the file holds."`
}

type packageTestFile struct {
	Where   factory.Position
	Present []text `yaml:"present" is:"package" doc:"Packages that are installed."`
	Absent  []text `yaml:"absent" is:"package" doc:"Packages that are not."`
}

type userTestFile struct {
	Where factory.Position
	Name  text   `yaml:"name" is:"account" need:"yes" doc:"The account's name."`
	UID   number `yaml:"uid" range:"0,999999999" need:"yes" doc:"Its user id."`
	GID   number `yaml:"gid" range:"0,999999999" need:"yes" doc:"Its group id."`
	Home  text   `yaml:"home" is:"path" doc:"Its home folder."`
	Shell text   `yaml:"shell" is:"path" doc:"Its login shell."`
}

// waiversFile is baseimages/<name>/waivers.yaml.
type waiversFile struct {
	Where   factory.Position
	Image   text         `yaml:"image" is:"image" need:"yes" doc:"The image that they are for, which is the folder's name: a file that was copied from another image waives nothing."`
	Waivers []waiverFile `yaml:"waivers" doc:"Vulnerabilities and rules that are accepted for a time."`
}

type waiverFile struct {
	Where    factory.Position
	ID       text   `yaml:"id" is:"accepted" need:"yes" doc:"The vulnerability (CVE-2026-1234) or the XCCDF rule (accounts_tmout)."`
	Packages []text `yaml:"packages" is:"package" doc:"The packages it is accepted for; all when empty."`
	Reason   text   `yaml:"reason" is:"line" need:"yes" doc:"Why it is accepted, in one line."`
	By       text   `yaml:"by" is:"line" need:"yes" doc:"Who accepted it."`
	Until    text   `yaml:"until" is:"date" need:"yes" doc:"The last day on which it is accepted, UTC."`

	Justification text `yaml:"justification" enum:"component_not_present,vulnerable_code_not_present,vulnerable_code_not_in_execute_path,vulnerable_code_cannot_be_controlled_by_adversary,inline_mitigations_already_exist" doc:"Why the image is not affected by the vulnerability, in OpenVEX's words. Without it the image counts as affected, and the risk as accepted."`
}

// ownersFile is baseimages/owners.yaml.
type ownersFile struct {
	Where  factory.Position
	Teams  table[teamFile] `yaml:"teams" keys:"team" need:"yes" doc:"The teams, by name."`
	Images table[text]     `yaml:"images" keys:"image" is:"team" need:"yes" doc:"The one team that answers for each image."`
}

type teamFile struct {
	Where      factory.Position
	Contacts   []text `yaml:"contacts" is:"contact" need:"yes" doc:"Where the team is reached: mail addresses or https URLs."`
	Codeowners []text `yaml:"codeowners" is:"codeowner" need:"yes" doc:"Who stands in CODEOWNERS for the team's images."`
}

// sharedFile is baseimages/shared/<name>.yaml.
type sharedFile struct {
	Where factory.Position
	Image imageFile `yaml:"image" doc:"What an image.yaml gets that uses this file."`
	Tests testsFile `yaml:"tests" doc:"What a tests.yaml gets that uses this file."`
}

// profileFile is ansible/profiles/<name>.yaml.
type profileFile struct {
	Where     factory.Position
	Profile   text          `yaml:"profile" is:"profile" need:"yes" doc:"The profile's name, that of the file."`
	Benchmark text          `yaml:"benchmark" is:"line" need:"yes" doc:"The benchmark and its version."`
	Roles     []text        `yaml:"roles" is:"role" need:"yes" doc:"The roles that apply it, in their order."`
	Playbook  text          `yaml:"playbook" is:"playbook" need:"yes" doc:"The playbook in ansible/ that runs them."`
	Controls  []controlFile `yaml:"controls" need:"yes" doc:"The benchmark's controls that the roles know."`
}

type controlFile struct {
	Where    factory.Position
	ID       text   `yaml:"id" is:"control" need:"yes" doc:"The control's id, in quotes."`
	Title    text   `yaml:"title" is:"line" need:"yes" doc:"What it is about."`
	Level    number `yaml:"level" range:"1,2" need:"yes" doc:"The lowest level that asks for it."`
	Scope    []text `yaml:"scope" enum:"container,vm" need:"yes" doc:"Where it can have an effect."`
	Releases []text `yaml:"releases" is:"release" doc:"The releases it applies to; all when empty."`
	Reason   text   `yaml:"reason" is:"line" need:"yes" doc:"Why it matters, in one line."`
	// Explained answers what factory hardening lint would say of it.
	Explained text `yaml:"explained" is:"line" doc:"Why it is in order that no benchmark content knows it, or that it never changes a stock image."`
}
