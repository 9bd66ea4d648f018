package factory

import "time"

// Dependent is somebody outside the factory who builds on one of its images.
type Dependent struct {
	Name       string   `json:"name"`       // unique
	Repository string   `json:"repository"` // of its source, as its server names it: payments/api
	Image      string   `json:"image"`      // the base that it follows
	Env        Env      `json:"env"`        // the environment whose releases it follows
	Owner      string   `json:"owner"`      // team, for reports
	Canary     bool     `json:"canary,omitempty"`
	Publishes  []string `json:"publishes,omitempty"` // repositories of the images that it makes, registry host and path
	Tell       Tell     `json:"tell"`
	Where      Position `json:"where"`
}

// Tell is how a dependent is told of a release.
type Tell struct {
	How    TellHow `json:"how"`
	Server string  `json:"server"` // id of a server in factory.yaml, which knows its URL and token
	// Event is the type of a repository_dispatch.
	Event string `json:"event,omitempty"`
	// Workflow is the file of a workflow_dispatch; Job the path of a Jenkins job.
	Workflow string `json:"workflow,omitempty"`
	Job      string `json:"job,omitempty"`
	// Branch is what a workflow or pipeline runs on, and what a pull request asks to be merged into.
	Branch string `json:"branch,omitempty"`
	// Files are those whose FROM line a pull request moves; empty = Dockerfile.
	Files []string `json:"files,omitempty"`
	// Path is, of a webhook, below the server's URL.
	Path string `json:"path,omitempty"`
}

// TellHow is a way to tell.
type TellHow string

// The ways to tell.
const (
	TellRepositoryDispatch TellHow = "github-repository-dispatch"
	TellWorkflowDispatch   TellHow = "github-workflow-dispatch"
	TellPullRequest        TellHow = "github-pull-request"
	TellGitLab             TellHow = "gitlab-pipeline"
	TellJenkins            TellHow = "jenkins"
	TellWebhook            TellHow = "webhook" // CloudEvents 1.0, signed
)

// Server is a machine that dependents are told through. It comes from factory.yaml: definitions name no hosts.
type Server struct {
	ID    string `json:"id"`
	URL   string `json:"url"`
	User  string `json:"user,omitempty"` // Jenkins
	Token string `json:"token"`          // reference: env:NAME or file:PATH
	// ReadToken is a reference too, to what asks what became of a build; empty = Token, where that can ask.
	ReadToken string `json:"readToken,omitempty"`
	// PerMinute is how often it is told or asked in a minute at most, by one process; 0 means 60. A pull request takes about a dozen requests.
	PerMinute int `json:"perMinute,omitempty"`
}

// Trigger is a message to one dependent about one digest that came into one environment. It is written in the transaction of
// what it tells of, and delivered afterwards, at least once.
type Trigger struct {
	ID        string       `json:"id"`  // unique, sorts by time
	Key       string       `json:"key"` // of idempotency: the same for the same dependent, digest and environment, in every attempt
	Dependent string       `json:"dependent"`
	Image     string       `json:"image"`
	Release   string       `json:"release"` // id
	Ref       string       `json:"ref"`     // repository@digest
	Tag       Tag          `json:"tag"`     // that it came in under
	Env       Env          `json:"env"`
	Reason    string       `json:"reason"`
	Urgent    bool         `json:"urgent,omitempty"` // of an emergency: before all others
	Canary    bool         `json:"canary,omitempty"`
	Cause     string       `json:"cause,omitempty"` // id of the trigger that led to the release, if one did
	State     TriggerState `json:"state"`
	Attempts  int          `json:"attempts"`
	Created   time.Time    `json:"created"`
	Due       time.Time    `json:"due"` // not before
	Ended     *time.Time   `json:"ended,omitempty"`
	Answer    string       `json:"answer,omitempty"` // what the server said last, or why there was no answer
	URL       string       `json:"url,omitempty"`    // where a person sees what came of it: a pull request, a pipeline
	Done      bool         `json:"done,omitempty"`   // the dependent is known to have the digest
	Handle    string       `json:"handle,omitempty"` // by which its server knows the build that it began; empty = it did not say
	Fate      Fate         `json:"fate,omitempty"`
}

// Fate is what became of a canary that was told, beside Done.
type Fate string

// The fates; empty = nothing of these is known.
const (
	FateFailed  Fate = "failed"  // its build failed: the others wait for a person, or for a build that succeeds
	FateExcused Fate = "excused" // a person lets the others go, whatever became of it
)

// TriggerState is where a trigger stands.
type TriggerState string

// The states of a trigger.
const (
	TriggerWaiting   TriggerState = "waiting"    // to be delivered when it is due; held back while canaries are out
	TriggerDelivered TriggerState = "delivered"  // the server took it
	TriggerDead      TriggerState = "dead"       // given up; a person can have it tried again
	TriggerObsolete  TriggerState = "superseded" // a newer digest was there before it could be delivered
)

// Observed is an image in a registry that was found to be built on one of ours.
type Observed struct {
	Repository string    `json:"repository"` // registry host and path
	Tag        string    `json:"tag"`
	Digest     Digest    `json:"digest"` // of what the tag names
	Created    time.Time `json:"created"`
	Image      string    `json:"image"`     // the base
	Release    string    `json:"release"`   // id of the base's release; empty = one that the store does not know
	Base       Digest    `json:"base"`      // of the release; empty when only layers tell
	By         string    `json:"by"`        // ByAnnotation or ByLayers
	Layers     int       `json:"layers"`    // how many of the base's layers it has, from the bottom
	Of         int       `json:"of"`        // of how many; without a release, of the one that is nearest
	Dependent  string    `json:"dependent"` // whose it is, by dependents.yaml; empty = nobody's
	At         time.Time `json:"at"`        // when it was looked at
	// Gone is when it was noticed that the tag names it no more; nil = it was there at At.
	Gone *time.Time `json:"gone,omitempty"`
}

// Told is what came of delivering a trigger.
type Told struct {
	Answer string // for people
	URL    string // where to see what came of it; empty = the server does not say
	Handle string // of the build that it began, to ask for it later; empty = the server does not say
	Done   bool   // nothing was to be done: the dependent has the digest already
	// RetryAfter is, with an error, how long the server asked to be left alone; 0 = it did not say.
	RetryAfter time.Duration
}

// Seen is what is known of a dependent some time after it was told.
type Seen struct {
	Known  bool   // that can be known of this dependent
	Done   bool   // it has the digest: its build succeeded
	Failed bool   // its build failed, as things are
	Answer string // for people; empty = what was said before
	URL    string // empty = as before
	Handle string // empty = as before
	// RetryAfter is as in Told.
	RetryAfter time.Duration
}

// Notice is a trigger with everything that its dependent is told.
type Notice struct {
	Trigger   Trigger
	Dependent Dependent
	Before    string          // repository@digest of what was in force in the environment before; empty = nothing
	Packages  []PackageChange // since then
	Fixed     []string        // vulnerabilities that the one before has and this one has not, sorted
}
