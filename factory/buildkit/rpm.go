package buildkit

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/moby/buildkit/client/llb"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	// installScript verifies the packages and installs them in one transaction.
	//
	//go:embed scripts/install_rpm.py
	installScript []byte
	// rootScript makes what no package brings: accounts, and devices while the packages' scripts run.
	//
	//go:embed scripts/rpm_root.py
	rootScript []byte
	// databaseScript gives rpm's database the form that the release reads.
	//
	//go:embed scripts/rpm_database.py
	databaseScript []byte
)

// databases are the releases whose own rpm does not read the database that the toolbox's rpm writes.
var databases = map[[2]string]string{{factory.Amazon, "2"}: "berkeley"}

// installPlan is what install_rpm.py reads.
type installPlan struct {
	Arch      string           `json:"arch"`      // x86_64
	Timestamp int64            `json:"timestamp"` // seconds since 1970
	Database  string           `json:"database"`  // sqlite, berkeley
	Packages  []installPackage `json:"packages"`
	Keys      []string         `json:"keys"`   // files
	Omit      []string         `json:"omit"`   // folders
	Parent    bool             `json:"parent"` // the root is that of another image, and its database is continued
	Users     []installUser    `json:"users"`
}

type installPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	File    string `json:"file"`
}

type installUser struct {
	Name  string `json:"name"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Home  string `json:"home"`
	Shell string `json:"shell"`
}

// rpm verifies and installs all packages with the toolbox's rpm, into the parent's root where there is one.
func (b batch) rpm() (llb.State, error) {
	plan, files, err := b.installPlan()
	if err != nil {
		return llb.State{}, err
	}
	if files[ownDir+"/plan.json"], err = jsonFile(plan); err != nil {
		return llb.State{}, err
	}
	files[ownDir+"/install_rpm.py"] = factory.File{Data: installScript}
	files[ownDir+"/rpm_root.py"] = factory.File{Data: rootScript}
	files[ownDir+"/rpm_database.py"] = factory.File{Data: databaseScript}
	install := b.script("install_rpm.py", files, llb.WithCustomName(installPrefix+b.title()),
		llb.AddEnv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		llb.AddEnv("HOME", "/root"), llb.AddEnv("LC_ALL", "C"), llb.AddEnv("SYSTEMD_OFFLINE", "1"),
		llb.AddEnv("SOURCE_DATE_EPOCH", fmt.Sprint(b.Lock.Timestamp.Unix())))
	target := llb.Scratch()
	if b.parent != nil {
		target = *b.parent
	}
	return install.AddMount(factory.TargetMount, target).Platform(ociPlatform(b.platform)), nil
}

func jsonFile(v any) (factory.File, error) {
	b, err := json.Marshal(v)
	return factory.File{Data: b}, err
}

// installPlan returns the plan, and the files of the keys that it names.
func (b batch) installPlan() (installPlan, map[string]factory.File, error) {
	img := b.Job.Image
	plan := installPlan{Arch: b.platform.Machine(), Timestamp: b.Lock.Timestamp.Unix(), Database: "sqlite", Omit: []string{}, Users: []installUser{}, Packages: []installPackage{}, Parent: b.parent != nil}
	if form := databases[[2]string{img.Distro.Family, img.Distro.Release}]; form != "" {
		plan.Database = form
	}
	for i, p := range b.packages {
		plan.Packages = append(plan.Packages, installPackage{Name: p.Name, Version: p.Version, Arch: p.Arch, File: b.files[i]})
	}
	files := map[string]factory.File{}
	for i, k := range img.Keys {
		if err := checkKey(k); err != nil {
			return plan, nil, err
		}
		at := fmt.Sprintf("%s/keys/%02d-%s", ownDir, i, k.Fingerprint)
		plan.Keys, files[at] = append(plan.Keys, at), factory.File{Data: []byte(k.Armored)}
	}
	if len(plan.Keys) == 0 {
		return plan, nil, &factory.Problem{Kind: factory.ErrInvalid, What: img.Name + " pins no key that packages could be signed by", Where: img.Where, Hint: "name one: keys"}
	}
	for _, p := range img.Packages.OmitPaths {
		folder := strings.TrimSuffix(p, "/*")
		// A colon would begin another folder in rpm's macro, and a percent sign another macro.
		if folder == p || !strings.HasPrefix(folder, "/") || strings.ContainsAny(folder, "*?[]:%{}\\ \t\r\n") {
			return plan, nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("omitPaths: rpm cannot leave out %.120q", p), Where: img.Where, Hint: "name whole folders: /usr/share/man/*"}
		}
		plan.Omit = append(plan.Omit, folder)
	}
	slices.Sort(plan.Omit)
	for _, u := range img.Users {
		plan.Users = append(plan.Users, installUser(u))
	}
	return plan, files, nil
}

// checkKey holds a key's text to its fingerprint: it has this primary key and no other.
func checkKey(k factory.Key) error {
	bad := func(what string, cause error) error {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("key %s: %s", k.File, what), Cause: cause, Hint: "compare the file and its fingerprint with what the vendor publishes"}
	}
	if !k.OneBlock() { // rpm would import every block that the file has
		return bad("the file is not exactly one armored key", nil)
	}
	block, err := armor.Decode(strings.NewReader(k.Armored))
	if err != nil {
		return bad("not an armored OpenPGP key", err)
	}
	var found []string
	for packets := packet.NewOpaqueReader(block.Body); ; {
		o, err := packets.Next()
		if err != nil {
			break // what is cut short, rpm refuses
		}
		if o.Tag != 6 {
			continue
		}
		p, err := o.Parse()
		if err != nil {
			return bad("not readable", err)
		}
		if pub, ok := p.(*packet.PublicKey); ok {
			found = append(found, fmt.Sprintf("%X", pub.Fingerprint))
		}
	}
	if !slices.Equal(found, []string{k.Fingerprint}) {
		return bad(fmt.Sprintf("the definition pins %s, the file has %s", k.Fingerprint, strings.Join(found, " and ")), nil)
	}
	return nil
}
