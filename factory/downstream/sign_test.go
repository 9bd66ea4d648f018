package downstream_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
)

const secret = "0123456789abcdef-and-more"

func signed(t *testing.T, secrets string, at time.Time) http.Header {
	t.Helper()
	h, err := downstream.Sign("key-1", []byte(`{"a":1}`), secrets, at)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The example of the Standard Webhooks specification's own tests.
func TestSignAsOthersDo(t *testing.T) {
	t.Parallel()
	h, err := downstream.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", time.Unix(1614265330, 0))
	if err != nil || h.Get("webhook-signature") != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("%v, %v", h, err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	other := "another-secret-0123456789"
	change := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	for name, tt := range map[string]struct {
		signers   string
		secret    string
		change    func(http.Header)
		body      string
		skew      time.Duration // of the receiver's clock
		tolerance time.Duration
		says      string // empty = it holds
	}{
		"holds":                        {},
		"rotated by the factory":       {signers: other + "\n" + secret},
		"rotated by the receiver":      {secret: other + " " + secret},
		"receiver is 5 minutes late":   {skew: 5 * time.Minute},
		"receiver is 5 minutes early":  {skew: -5 * time.Minute},
		"a second more":                {skew: 5*time.Minute + time.Second, says: "replay, or a clock that is wrong"},
		"a second more, early":         {skew: -5*time.Minute - time.Second, says: "replay, or a clock that is wrong"},
		"narrow":                       {skew: 31 * time.Second, tolerance: 30 * time.Second, says: "30s away"},
		"wide":                         {skew: time.Hour, tolerance: time.Hour},
		"centuries":                    {change: change("Webhook-Timestamp", "999999999999"), says: "clock that is wrong"},
		"another secret":               {secret: other, says: "no signature"},
		"no secret":                    {secret: " ", says: "no signature"},
		"short secret":                 {secret: "0123", says: "no signature"},
		"another body":                 {body: `{"a":2}`, says: "no signature"},
		"another id":                   {change: change("Webhook-Id", "key-2"), says: "no signature"},
		"no id":                        {change: change("Webhook-Id", ""), says: "can be read"},
		"another time":                 {change: change("Webhook-Timestamp", "1763888401"), says: "clock"},
		"a time that is none":          {change: change("Webhook-Timestamp", "-1"), says: "can be read"},
		"no time":                      {change: change("Webhook-Timestamp", ""), says: "can be read"},
		"a version to come beside it":  {change: func(h http.Header) { h.Set("Webhook-Signature", "v9,AAAA v1 v1,%% "+h.Get("Webhook-Signature")) }},
		"only a version to come":       {change: func(h http.Header) { h.Set("Webhook-Signature", "v2"+h.Get("Webhook-Signature")[2:]) }, says: "no signature"},
		"half a signature":             {change: func(h http.Header) { h.Set("Webhook-Signature", h.Get("Webhook-Signature")[:20]) }, says: "no signature"},
		"a signature of something":     {change: change("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32))), says: "no signature"},
		"nothing is signed by nothing": {change: change("Webhook-Signature", ""), says: "no signature"},
	} {
		if tt.signers == "" {
			tt.signers = secret
		}
		if tt.secret == "" {
			tt.secret = secret
		}
		if tt.body == "" {
			tt.body = `{"a":1}`
		}
		h := signed(t, tt.signers, now)
		if tt.change != nil {
			tt.change(h)
		}
		err := downstream.Verify(h, []byte(tt.body), tt.secret, now.Add(tt.skew), tt.tolerance)
		if tt.says == "" && err != nil || tt.says != "" && (!errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestSecretsOfNoUse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", " \n", "short", secret + " short"} {
		if h, err := downstream.Sign("a", nil, s, now); err == nil || strings.Contains(err.Error(), "short") {
			t.Errorf("%q: %v, %v", s, h, err)
		}
	}
	if downstream.KeyID("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == downstream.KeyID("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") || len(downstream.KeyID("whsec_%")) != 8 {
		t.Error("a key is told from its form in base64")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("key-1", "1763888400", "v1,AAAA", []byte("{}"))
	f.Add("", "-1", "v1 v2,x ,, v1,=", []byte(nil))
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}}
		if downstream.Verify(h, body, secret, now, time.Hour) == nil {
			t.Errorf("%q %q %q was made without the secret", id, stamp, signature)
		}
		own, err := downstream.Sign(id, body, secret, now)
		if err != nil || id != "" && downstream.Verify(own, body, secret, now, 0) != nil {
			t.Errorf("%q: what is signed does not hold: %v", id, err)
		}
	})
}
