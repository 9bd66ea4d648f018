package graph_test

import (
	"fmt"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
)

var now = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

const (
	hour = time.Hour
	day  = 24 * hour
)

func date(s string) factory.Date {
	d, err := factory.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

// image is a definition of Debian 12.
func image(name, from string) factory.Image {
	return factory.Image{Name: name, Kind: factory.KindBase, From: from, Owner: factory.Owner{Team: "platform"}, EndOfLife: date("2028-06-30"),
		Distro: factory.Distro{Family: "debian", Release: "12"}, Archives: []factory.Archive{{ID: "debian-security"}, {ID: "debian"}, {ID: "debian"}}}
}

func digest(s string) factory.Digest { return factory.DigestOf([]byte(s)) }

// released is a release of an image that was made so long ago, on a release of its parent.
func released(name string, ago time.Duration, parent *graph.Release) *graph.Release {
	at := now.Add(-ago)
	tag := factory.Tag{Date: factory.DateOf(at), Hash: "1a2b3c4d", Env: factory.Dev}
	r := &graph.Release{ID: "r-" + name + "-" + ago.String(), Tag: tag, Digest: digest(name + ago.String()), Ref: "registry.example.com/base/" + name + ":" + tag.String(), Created: at}
	if parent != nil {
		r.Parent = &factory.Base{Image: parent.ID[2 : len(parent.ID)-len(now.Sub(parent.Created).String())-1], Release: parent.ID, Digest: parent.Digest, Tag: parent.Tag}
	}
	return r
}

func standing(env factory.Env, r *graph.Release) graph.Standing {
	return graph.Standing{Env: env, Release: r.ID, Digest: r.Digest, Tag: r.Tag, Created: r.Created, Since: r.Created}
}

// generated is a factory of n images in four distributions, up to six deep, with something of everything.
func generated(n int) graph.Input {
	in := graph.Input{At: now, MaxAge: 7 * day, Facts: map[string]graph.Facts{}}
	bases := []factory.Distro{{Family: "debian", Release: "12"}, {Family: "debian", Release: "13"}, {Family: "redhat", Release: "9"}, {Family: "amazon", Release: "2023"}}
	stacks := []string{"python", "java", "node", "static", "nginx", "postgres", "batch", "web", "worker", "fips", "debug", "ml"}
	wanted := []int{1, 2, 3, 2, 3, 4, 3, 4, 5, 6}
	family := []int{0, 1, 0, 2, 1, 3, 0, 1, 2}
	at := map[[2]int][]factory.Image{} // by family and depth
	for i := range n {
		img := factory.Image{Kind: factory.KindBase, Owner: factory.Owner{Team: "platform"}, EndOfLife: date("2029-06-30")}
		place := [2]int{i, 0}
		if i < len(bases) {
			img.Distro = bases[i]
			img.Name = fmt.Sprintf("%s-%s", img.Distro.Family, img.Distro.Release)
			img.Archives = []factory.Archive{{ID: img.Distro.Family}}
		} else {
			place = [2]int{family[i%len(family)], wanted[i%len(wanted)]}
			for len(at[[2]int{place[0], place[1] - 1}]) == 0 {
				place[1]--
			}
			// Some have many children, and most have none.
			parents := at[[2]int{place[0], place[1] - 1}]
			parent := parents[(i*3+i/10)%((len(parents)+1)/2)]
			img.Distro, img.From = parent.Distro, parent.Name
			img.Name = fmt.Sprintf("%s-%s-%s%d", img.Distro.Family, img.Distro.Release, stacks[i%len(stacks)], i)
		}
		at[place] = append(at[place], img)
		in.Images = append(in.Images, img)
		in.Facts[img.Name] = history(img, i, in)
	}
	return in
}

// history is what became of the i-th image.
func history(img factory.Image, i int, in graph.Input) graph.Facts {
	if i%23 == 9 {
		return graph.Facts{Last: &graph.Look{Run: "run-1", At: now.Add(-4 * hour), Action: factory.Hold, Reason: img.From + " failed"}}
	}
	parent := in.Facts[img.From].Newest
	age := time.Duration(3+i%60) * hour
	if i%31 == 20 {
		age = 9 * day
	}
	r := released(img.Name, age, parent)
	if i%17 == 5 && r.Parent != nil {
		r.Parent.Digest = digest("older")
	}
	f := graph.Facts{Newest: r, InForce: []graph.Standing{standing(factory.Dev, r)}, Last: &graph.Look{Run: "run-1", At: now.Add(-4 * hour), Action: factory.Keep}}
	if i%2 == 0 {
		f.InForce = append(f.InForce, standing(factory.Staging, r), standing(factory.Prod, released(img.Name, 12*day, nil)))
	}
	if i%19 == 7 {
		f.Last = &graph.Look{Run: "run-1", At: now.Add(-4 * hour), Action: factory.Rebuild, Error: "test: bash is there\nmore"}
	}
	if i%29 == 11 {
		f.InForce[0].Breach = "CVE-2026-1234 in openssl is fixed since 9 days, high allows 7"
	}
	return f
}
