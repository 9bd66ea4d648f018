package definition

import "github.com/imagefactory/imagefactory/factory"

// policiesFile is baseimages/policy.yaml.
type policiesFile struct {
	Where   factory.Position
	Dev     policyFile `yaml:"dev" need:"yes" doc:"What an image must be to enter dev."`
	Staging policyFile `yaml:"staging" need:"yes" doc:"What an image must be to enter staging."`
	Prod    policyFile `yaml:"prod" need:"yes" doc:"What an image must be to enter prod."`
}

// policyFile is one environment of it.
type policyFile struct {
	Where      factory.Position
	Like       text         `yaml:"like" enum:"dev,staging" doc:"An earlier environment whose demands hold here too. What stands beside it replaces that environment's, lists as a whole."`
	Pack       text         `yaml:"pack" is:"pack" need:"yes" doc:"Where the deadlines come from: a file in baseimages/packs, without .yaml."`
	Clock      text         `yaml:"clock" enum:"first-seen,fix-available,published" doc:"From when a deadline runs, when not as the pack says."`
	Unknown    text         `yaml:"unknown" enum:"critical,high,moderate,low,never" need:"yes" doc:"The severity that an unknown one counts as; never: it never blocks."`
	Compliance []floorFile  `yaml:"compliance" argv:"yes" doc:"The least that OpenSCAP's evaluations may reach. Each that is named here must exist."`
	NoContent  text         `yaml:"noContent" enum:"warn,block" doc:"What becomes of an image for whose distribution no benchmark content exists, so that nothing can be evaluated; block when not given."`
	Tests      bool         `yaml:"tests" need:"yes" doc:"Acceptance tests must have run, and all have passed."`
	Committed  bool         `yaml:"committed" need:"yes" doc:"The image's inputs must be committed."`
	Database   databaseFile `yaml:"database" need:"yes" doc:"What vulnerability data is good enough."`
	EndOfLife  text         `yaml:"endOfLife" enum:"warn,block" need:"yes" doc:"What becomes of an image past its distribution's end of life."`
}

type floorFile struct {
	Where         factory.Position
	Image         text   `yaml:"image" is:"image" doc:"The one image that the floor is for, instead of those for its family and for all."`
	Family        text   `yaml:"family" enum:"debian,redhat,amazon" doc:"The one family of distributions that the floor is for, instead of the one without a family."`
	View          text   `yaml:"view" enum:"container,extended" need:"yes" doc:"container: as what runs; extended: the rules about plain files that child images and machines inherit."`
	Level         number `yaml:"level" range:"1,2" need:"yes" doc:"The benchmark's level, 1 or 2."`
	MaxFail       number `yaml:"maxFail" range:"0,10000" need:"yes" doc:"How many rules may fail or stay undecided; waived ones do not count."`
	MinApplicable number `yaml:"minApplicable" range:"1,10000" need:"yes" doc:"How many rules must at least apply: an evaluation of nothing proves nothing."`
}

type databaseFile struct {
	Where  factory.Position
	Kinds  []text `yaml:"kinds" enum:"trivy,archive" argv:"yes" need:"yes" doc:"trivy: the public database, or a mirror or build of its form; archive: the changelogs of the archives' own packages, which know fixes only."`
	MaxAge text   `yaml:"maxAge" is:"age" need:"yes" doc:"How old it may be by its own date: 48h, 7d."`
	// Optional, because most data is made every few hours.
	ArchiveMaxAge text `yaml:"archiveMaxAge" is:"age" doc:"The same for archive changelogs, which are as old as the archive's newest Release file: that stays the same while nothing is published. Without it, maxAge counts."`
}

// packFile is baseimages/packs/<name>.yaml.
type packFile struct {
	Where     factory.Position
	Pack      text          `yaml:"pack" is:"pack" need:"yes" doc:"The pack's name, that of the file."`
	Source    sourceFile    `yaml:"source" need:"yes" doc:"The publication that the figures are taken from."`
	Clock     text          `yaml:"clock" enum:"first-seen,fix-available,published" need:"yes" doc:"From when a deadline runs. It never runs while there is no fix."`
	Deadlines deadlinesFile `yaml:"deadlines" need:"yes" doc:"Days from the clock's start to the last day on which a finding does not block, by severity. A severity that is left out never blocks."`
}

type sourceFile struct {
	Where factory.Position
	Title text `yaml:"title" is:"line" need:"yes" doc:"Its title."`
	Date  text `yaml:"date" is:"date" need:"yes" doc:"The day it was published."`
	URL   text `yaml:"url" is:"link" doc:"Where it can be read."`
}

type deadlinesFile struct {
	Where    factory.Position
	Critical number `yaml:"critical" range:"0,3650" doc:"Days for critical findings."`
	High     number `yaml:"high" range:"0,3650" doc:"Days for high findings."`
	Moderate number `yaml:"moderate" range:"0,3650" doc:"Days for moderate findings."`
	Low      number `yaml:"low" range:"0,3650" doc:"Days for low findings."`
}
