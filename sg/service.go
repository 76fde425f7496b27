package sg

import "strings"

// Service is a named service: what consoles offer instead of a protocol and a
// port.
type Service struct {
	Name     string
	Protocol Protocol
	Ports    PortRange
	Note     string
}

// Services returns the named services of the source documents, in order of
// port: their tables of common ports, and the types of the AWS primer.
func Services() []Service {
	tcp := func(name string, port uint16, note string) Service { return Service{name, TCP, Port(port), note} }
	return []Service{
		tcp("SSH", 22, "bastion and admin access"),
		tcp("SMTP", 25, "mail; often guarded by the platform"),
		{"DNS", UDP, Port(53), "name resolution"},
		tcp("HTTP", 80, "web traffic"),
		{"NTP", UDP, Port(123), "time"},
		tcp("HTTPS", 443, "secure web and API traffic"),
		tcp("MSSQL", 1433, "Microsoft SQL Server"),
		tcp("Gateway", 3000, "NFYio API gateway"),
		tcp("MySQL", 3306, "MySQL"),
		tcp("RDP", 3389, "remote desktop"),
		tcp("PostgreSQL", 5432, "PostgreSQL"),
		tcp("Redis", 6379, "cache and session store"),
		tcp("S3 Storage Proxy", 7007, "NFYio object storage"),
		tcp("Agent Service", 7010, "NFYio RAG and LLM API"),
	}
}

// FindService returns the service of that name, in any letter case.
func FindService(name string) (Service, bool) {
	for _, s := range Services() {
		if strings.EqualFold(s.Name, name) {
			return s, true
		}
	}
	return Service{}, false
}

// Rule returns a rule for s. Its ID and Description are the service's name.
func (s Service) Rule(d Direction, peer Peer) Rule {
	return Rule{
		ID: RuleID(strings.ReplaceAll(strings.ToLower(s.Name), " ", "-")), Direction: d,
		Protocol: s.Protocol, Ports: s.Ports, Peer: peer, Description: s.Name,
	}
}
