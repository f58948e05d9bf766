# Restore a database on this host without Ansible. All it does is to call the command line, which asks for confirmation
# unless -Force is given. The old content is always kept first, so -PreBackup changes nothing.
# It was written without a PowerShell to run it in, so it is kept to what can be judged by reading.
param(
    [switch] $Test,
    [switch] $Force,
    [switch] $PreBackup,
    [switch] $Verify,
    [string] $BackupDir,
    [string] $DataDir,
    [Parameter(Position = 0, Mandatory = $true)]
    [string] $File
)
$ErrorActionPreference = 'Stop'

$words = @()
if ($Test) { $words += 'test' } else { $words += 'restore' }
if ($Force -and -not $Test) { $words += '--force' }
if ($Verify) { $words += '--verify', 'full' }
if ($BackupDir) { $words += '--backup-dir', $BackupDir }
if ($DataDir) { $words += '--database', ($DataDir.TrimEnd('/', '\') + '/') }
$words += '--', $File

if ($env:DIGITALME_BACKUP) {
    & $env:DIGITALME_BACKUP @words
}
else {
    $env:PYTHONPATH = Join-Path $PSScriptRoot '../plugins/module_utils'
    & python -m engine @words
}
exit $LASTEXITCODE
