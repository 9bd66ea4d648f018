package downstream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// EventType is the type of the CloudEvents that webhooks get.
const EventType = "io.imagefactory.release.published"

// cloudEvent is CloudEvents 1.0 in structured JSON mode. It is the same in every attempt, so id is one to deduplicate by.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"` // idempotency key
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"` // repository@digest
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        message   `json:"data"`
}

func webhook(ctx context.Context, c *call) (factory.Told, error) {
	t := c.notice.Trigger
	if c.client.Now == nil {
		return factory.Told{}, c.problem(nil, "there is no clock to sign by", "", nil)
	}
	path := c.notice.Dependent.Tell.Path
	if path != "" && !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if strings.ContainsAny(path, "?#\\") || strings.Contains(path+"/", "/../") {
		return factory.Told{}, c.problem(factory.ErrInvalid, fmt.Sprintf("%.120q is not a path below the server's url", path), "", nil)
	}
	body, err := json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: t.Key, Source: cmp.Or(c.client.Source, "imagefactory"), Type: EventType, Subject: t.Ref,
		Time: t.Created.UTC(), ContentType: "application/json", Data: messageOf(c.notice),
	})
	if err != nil {
		return factory.Told{}, err
	}
	header, err := Sign(t.Key, body, c.token, c.client.Now())
	if err != nil {
		return factory.Told{}, c.problem(factory.ErrInvalid, err.Error(), "make one with: openssl rand -hex 32", nil)
	}
	header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	a, err := c.ask(ctx, request{method: http.MethodPost, path: path, header: header, body: body, tells: true}, nil)
	return factory.Told{Answer: fmt.Sprintf("taken with %d", a.status)}, err
}
