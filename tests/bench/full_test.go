package main
import ("testing";"path/filepath")
func TestFull(t *testing.T){ m,err:=tellMany(t.Context(), filepath.Join(t.TempDir(),"x"), 10000); t.Logf("%+v %v %s",m,err,m.took) }
