package cosign

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/url"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	rekor "github.com/sigstore/rekor/pkg/client"
	"github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/imagefactory/imagefactory/factory"
)

const publicLog = "https://rekor.sigstore.dev"

type entry = *models.LogEntryAnon

// logClient enters signatures in a transparency log.
type logClient struct{ *client.Rekor }

// enter sends a signature to the log and returns cosign's bundle: the log's signed promise.
func (k *signer) enter(ctx context.Context, send func(l *logClient, pem []byte) (entry, error)) ([]byte, error) {
	at, err := url.Parse(k.log)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "transparency log URL", Cause: err}
	}
	pem := k.cert
	if pem == nil {
		pub, err := k.PublicKey()
		if err != nil {
			return nil, err
		}
		if pem, err = publicPEM(pub); err != nil {
			return nil, err
		}
	}
	c, err := rekor.GetRekorClient(k.log, rekor.WithUserAgent("imagefactory"))
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "transparency log " + at.Host, Cause: err}
	}
	e, err := send(&logClient{c}, pem)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "transparency log " + at.Host, Hint: "try again later; nothing was published", Cause: err}
	}
	b := bundle.EntryToBundle(e)
	if b == nil {
		return nil, &factory.Problem{Kind: factory.ErrUnverified, What: "transparency log " + at.Host + " gave no signed promise"}
	}
	return json.Marshal(b)
}

func (l *logClient) signature(ctx context.Context, raw, text, pem []byte) (entry, error) {
	sum := sha256.New()
	sum.Write(text)
	return cosign.TLogUpload(ctx, l.Rekor, raw, sum, pem)
}

func (l *logClient) envelope(ctx context.Context, envelope, pem []byte) (entry, error) {
	return cosign.TLogUploadDSSEEnvelope(ctx, l.Rekor, envelope, pem)
}
