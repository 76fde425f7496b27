package nftables

import (
	"testing"

	"example.com/secgroup/enforce/internal/netlabtest"
)

func TestMain(m *testing.M) { netlabtest.Main(m) }
