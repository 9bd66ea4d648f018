package git_test

import "testing"

func TestCommitted(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("a/b", "one\n")
	if b, ok, err := r.Committed(t.Context(), "a/b"); ok || err != nil {
		t.Errorf("before the first commit: %q %v %v", b, ok, err)
	}
	if _, err := r.Commit(t.Context(), "first", []string{"a/b"}); err != nil {
		t.Fatal(err)
	}
	r.write("a/b", "two\n")
	if b, ok, err := r.Committed(t.Context(), "a/b"); string(b) != "one\n" || !ok || err != nil {
		t.Errorf("got %q %v %v", b, ok, err)
	}
	if b, ok, err := r.Committed(t.Context(), "a/none"); ok || err != nil {
		t.Errorf("a path that is not there: %q %v %v", b, ok, err)
	}
	sub := r
	sub.Dir += "/a"
	if b, ok, err := sub.Committed(t.Context(), "b"); string(b) != "one\n" || !ok || err != nil {
		t.Errorf("in a folder of the repository: %q %v %v", b, ok, err)
	}
	if _, ok, err := folder(t).Committed(t.Context(), "a"); ok || err != nil {
		t.Errorf("no repository: %v %v", ok, err)
	}
}
