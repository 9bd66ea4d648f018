package forge

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Cancel takes an item out of the queue. They are numbered from 1.
func (j *Jenkins) Cancel(item int) { j.change(item, func(b *Build) { b.cancelled = true }) }

// Begin makes a build of an item, and returns its number.
func (j *Jenkins) Begin(item int) (number int) {
	j.change(item, func(b *Build) {
		for _, other := range j.builds {
			if other.Job == b.Job && other.number > number {
				number = other.number
			}
		}
		number++
		b.number = number
	})
	return number
}

// End ends the build of an item: SUCCESS, UNSTABLE, FAILURE, ABORTED.
func (j *Jenkins) End(item int, result string) { j.change(item, func(b *Build) { b.result = result }) }

// Forget has the queue forget an item, as it does minutes after its build began.
func (j *Jenkins) Forget(item int) { j.change(item, func(b *Build) { b.forgotten = true }) }

func (j *Jenkins) change(item int, do func(*Build)) {
	j.state.Lock()
	defer j.state.Unlock()
	do(&j.builds[item-1])
}

// look is what the remote access API shows; nil = nothing is there.
func (j *Jenkins) look(path string) any {
	j.state.Lock()
	defer j.state.Unlock()
	if id, is := strings.CutPrefix(path, "/queue/item/"); is {
		return j.item(id)
	}
	full, err := url.PathUnescape(strings.ReplaceAll(strings.TrimPrefix(path, "/job/"), "/job/", "/"))
	if err != nil {
		return nil
	}
	if _, there := j.Jobs[full]; there {
		list := []any{}
		for i := len(j.builds) - 1; i >= 0; i-- {
			if b := j.builds[i]; b.Job == full && b.number > 0 {
				list = append(list, b.shown(i+1))
			}
		}
		return map[string]any{"_class": "hudson.model.FreeStyleProject", "builds": list}
	}
	slash := strings.LastIndexByte(full, '/')
	n, err := strconv.Atoi(full[slash+1:])
	if slash < 0 || err != nil {
		return nil
	}
	for i, b := range j.builds {
		if b.Job == full[:slash] && b.number == n && n > 0 {
			return b.shown(i + 1)
		}
	}
	return nil
}

func (j *Jenkins) item(id string) any {
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > len(j.builds) || j.builds[n-1].forgotten {
		return nil
	}
	b := j.builds[n-1]
	if b.number == 0 {
		return map[string]any{"_class": "hudson.model.Queue$WaitingItem", "id": n, "cancelled": b.cancelled}
	}
	return map[string]any{"_class": "hudson.model.Queue$LeftItem", "id": n, "cancelled": b.cancelled, "executable": map[string]any{"number": b.number, "url": b.url()}}
}

func (b Build) url() string {
	return fmt.Sprintf("https://ci.example.com/job/%s/%d/", url.PathEscape(b.Job), b.number)
}

func (b Build) shown(item int) map[string]any {
	shown := map[string]any{"_class": "hudson.model.FreeStyleBuild", "number": b.number, "queueId": item, "building": b.result == "", "result": nil, "url": b.url()}
	if b.result != "" {
		shown["result"] = b.result
	}
	return shown
}
