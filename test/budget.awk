# Prints the phases of test/run.sh as a table, in the order of their start. Fails if a phase
# failed or if there is none.
# Columns: begin, end (seconds), exit status, tests passed, failed, skipped,
# load of the processors (percent), name.
BEGIN { FS = "\t" }
{ begin[NR] = $1; end[NR] = $2; status[NR] = $3; busy[NR] = $7; name[NR] = $8
  tests[NR] = $4 + $5 + $6; passed += $4; failed += $5; skipped += $6 }

# others returns the names of the phases that ran at the same time as phase i.
function others(i,    j, list) {
  for (j = 1; j <= NR; j++)
    if (j != i && begin[j] < end[i] && end[j] > begin[i]) list = list (list == "" ? "" : ", ") j
  return list
}

END {
  printf "\n%3s %-40s %6s %6s %5s %6s  %-7s %s\n", "", "phase", "from", "time", "busy", "tests", "", "beside"
  for (i = 1; i <= NR; i++)
    printf "%3d %-40s %3d:%02d %5ds %4d%% %6s  %-7s %s\n", i, name[i], begin[i] / 60, begin[i] % 60, \
      end[i] - begin[i], busy[i], tests[i] ? tests[i] : "-", status[i] ? "FAILED" : "ok", others(i)
  printf "%3s %-40s %6s %5ds\n\n", "", "all", "", all
  for (i = 1; i <= NR; i++) if (status[i]) { broken++; print "FAILED: " name[i] }
  if (skipped) print "FAILED: " skipped " skipped"
  printf "%d passed, %d failed\n", passed, failed
  exit broken || !NR
}
