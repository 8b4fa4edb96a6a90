#!/usr/bin/perl
# An SMSC on Perl's Net::SMPP: tells on standard output what it gets, does on standard input what it is told; a JSON object a line.
#
# What it does with a message depends on the number's last digit:
#   0 takes it and sends a receipt   1 says UNDELIV, in a receipt flagged UCS-2   2 numbers it in hexadecimal, receipt in decimal
#   3 sends the receipt before the answer   4 is full   5 never answers   6 ends the connection   7 answers with garbage
#   8 takes it and sends no receipt   9 takes it, answers a moment later and sends no receipt
use strict;
use warnings;
use Encode;
use IO::Select;
use JSON::PP;
use Net::SMPP;
use Time::HiRes qw(time);

$| = 1;
$SIG{PIPE} = 'IGNORE';
# That a link ends is told on standard output.
$SIG{__WARN__} = sub { print STDERR @_ unless $_[0] =~ /from socket/ };
my ($port, $password) = @ARGV;
my $json = JSON::PP->new->utf8->canonical;
my $listener = Net::SMPP->new_listen('127.0.0.1', port => $port, smpp_version => 0x34, timeout => undef)
  or die "cannot listen on $port: $!";
my $select = IO::Select->new($listener, \*STDIN);
my (%bound, %parts, @later);
my ($ids, $rate, $second, $in_second, $input) = (4096, 0, 0, 0, '');

sub report { print $json->encode({@_}), "\n" }
report(ready => JSON::PP::true);

sub forget {
    my ($link) = @_;
    delete $bound{$link};
    $select->remove($link);
    close $link;
    report(gone => JSON::PP::true);
}

# The text of a message and which part it is of which, from whatever carries it.
sub read_message {
    my ($pdu) = @_;
    my $bytes = length($pdu->{short_message}) ? $pdu->{short_message} : $pdu->{message_payload} // '';
    my ($reference, $total, $part) = (0, 1, 1);
    if ($pdu->{esm_class} & 0x40) {
        my $length = ord $bytes;
        my $header = substr $bytes, 1, $length;
        $bytes = substr $bytes, 1 + $length;
        my ($element) = unpack 'C', $header;
        ($reference, $total, $part) = $element == 8 ? unpack('xxnCC', $header) : unpack('xxCCC', $header);
    } elsif (defined $pdu->{sar_total_segments}) {
        $reference = unpack 'n', $pdu->{sar_msg_ref_num};
        $total = unpack 'C', $pdu->{sar_total_segments};
        $part = unpack 'C', $pdu->{sar_segment_seqnum};
    }
    my $text = decode($pdu->{data_coding} == 8 ? 'UTF-16BE' : 'gsm0338', $bytes);
    return ($text, $reference, $total, $part);
}

sub receipt {
    my ($link, $pdu, $id, $state, %more) = @_;
    return unless $pdu->{registered_delivery} & 1;
    my $text = sprintf 'id:%s sub:001 dlvrd:%03d submit date:2607010000 done date:2607010001 stat:%s err:%03d text:',
      $id, $state eq 'DELIVRD' ? 1 : 0, $state, $state eq 'DELIVRD' ? 0 : 21;
    $link->deliver_sm(
        source_addr_ton => 1, source_addr_npi => 1, source_addr => $pdu->{destination_addr},
        dest_addr_ton => 1, dest_addr_npi => 1, destination_addr => $pdu->{source_addr},
        esm_class => 4, data_coding => 0, short_message => $text, async => 1, %more);
}

sub submitted {
    my ($link, $pdu) = @_;
    my $seq = $pdu->{seq};
    if ($rate > 0) {
        if (int(time) != $second) { ($second, $in_second) = (int(time), 0) }
        if (++$in_second > $rate) {
            report(throttled => JSON::PP::true);
            return $link->submit_sm_resp(seq => $seq, status => 0x58, message_id => '');
        }
    }
    my ($digit) = $pdu->{destination_addr} =~ /(\d)$/;
    return $link->submit_sm_resp(seq => $seq, status => 0x14, message_id => '') if $digit == 4;
    my ($text, $reference, $total, $part) = read_message($pdu);
    my $reference_of_user = defined $pdu->{user_message_reference} ? unpack('n', $pdu->{user_message_reference}) : -1;
    report(part => $part, of => $total, to => $pdu->{destination_addr}, coding => $pdu->{data_coding});
    my $key = join '/', $pdu->{destination_addr}, $reference, $total;
    $parts{$key}{$part} = $text;
    if (keys %{$parts{$key}} == $total) {
        my $whole = join '', map { $parts{$key}{$_} } 1 .. $total;
        delete $parts{$key};
        report(text => $whole, to => $pdu->{destination_addr}, from => $pdu->{source_addr}, parts => $total,
            reference => $reference_of_user, validity => $pdu->{validity_period});
    }
    return if $digit == 5;
    return forget($link) if $digit == 6;
    if ($digit == 7) { $link->syswrite('HTTP/1.1 400 Bad Request'); return }
    my $id = ++$ids;
    receipt($link, $pdu, $id, 'DELIVRD') if $digit == 3;
    my $written = $digit == 2 ? sprintf('%X', $id) : $id;
    my $answer = sub { $link->submit_sm_resp(seq => $seq, message_id => $written) if $bound{$link} };
    if ($digit == 9) { push @later, [time + 0.005, $answer] }
    else { $answer->() }
    receipt($link, $pdu, $id, 'DELIVRD') if $digit == 0 || $digit == 2;
    receipt($link, $pdu, $id, 'UNDELIV', data_coding => 8) if $digit == 1;
}

sub take {
    my ($link) = @_;
    my $pdu = $link->read_pdu or return forget($link);
    my $cmd = $pdu->{cmd};
    if ($cmd == 1 || $cmd == 2 || $cmd == 9) {
        my $status = $pdu->{password} eq $password ? 0 : 0x0e;
        my %answer = (seq => $pdu->{seq}, status => $status, system_id => 'perl');
        $cmd == 9 ? $link->bind_transceiver_resp(%answer)
          : $cmd == 1 ? $link->bind_receiver_resp(%answer) : $link->bind_transmitter_resp(%answer);
        $bound{$link} = $link if $status == 0;
        report(bind => $cmd, system_id => $pdu->{system_id}, status => $status);
    } elsif ($cmd == 4) { submitted($link, $pdu) }
    elsif ($cmd == 0x15) { $link->enquire_link_resp(seq => $pdu->{seq}) }
    elsif ($cmd == 6) { $link->unbind_resp(seq => $pdu->{seq}); forget($link) }
    elsif ($cmd == 0x80000005) { report(delivered => $pdu->{status}) }
}

# A phone writes; long texts in parts, tied together as asked, the last part first.
sub phone {
    my ($from, $to, $text, $by) = @_;
    my ($link) = grep { defined } values %bound or return;
    my $wide = $text =~ /[^\x00-\x7f]/;
    my @pieces = $by eq 'payload' ? ($text) : $text =~ /(.{1,60})/gs;
    my $reference = int rand 200;
    for my $part (reverse 1 .. @pieces) {
        my $bytes = encode($wide ? 'UTF-16BE' : 'gsm0338', $pieces[$part - 1]);
        my %more = (short_message => $bytes, esm_class => 0);
        if ($by eq 'payload') { %more = (short_message => '', esm_class => 0, message_payload => $bytes) }
        elsif (@pieces > 1 && $by eq 'sar') {
            %more = (%more, sar_msg_ref_num => pack('n', $reference),
                sar_total_segments => pack('C', scalar @pieces), sar_segment_seqnum => pack('C', $part));
        } elsif (@pieces > 1) {
            my $header = $by eq 'udh16' ? pack('CCCnCC', 6, 8, 4, $reference, scalar @pieces, $part)
              : pack('CCCCCC', 5, 0, 3, $reference, scalar @pieces, $part);
            %more = (short_message => $header . $bytes, esm_class => 67);
        }
        $link->deliver_sm(source_addr_ton => 1, source_addr_npi => 1, source_addr => $from, destination_addr => $to,
            data_coding => $wide ? 8 : 0, async => 1, %more);
    }
}

sub told {
    my ($command) = @_;
    phone(@{$command->{phone}}) if $command->{phone};
    $rate = $command->{rate} if defined $command->{rate};
    if ($command->{drop}) { forget($_) for values %bound }
}

while (1) {
    my $wait = @later ? 0.002 : undef;
    for my $ready ($select->can_read($wait)) {
        if ($ready == $listener) { $select->add(scalar $listener->accept) }
        elsif ($ready == \*STDIN) {
            sysread(STDIN, $input, 65536, length $input) or exit 0;
            while ($input =~ s/^(.*)\n//) { told($json->decode($1)) }
        } else { take($ready) }
    }
    while (@later && $later[0][0] <= time) { (shift @later)->[1]->() }
}
